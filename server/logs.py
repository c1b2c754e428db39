"""Structured logs: ids and numbers, never the text that is spoken.

`logger.info("context done", extra={"ctx": ..., "ttfa_ms": ...})` becomes one line, for people or
as JSON. Whatever comes from outside is escaped: a client cannot forge a line.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields given by `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, Any] = {
            "time": _utc(record.created, record.msecs),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class HumanFormatter(logging.Formatter):
    """Time, level, event, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        fields = " ".join(f"{key}={_shown(value)}" for key, value in extras(record).items())
        event = _shown(record.getMessage(), quote=False)
        line = f"{_utc(record.created, record.msecs)} {record.levelname:<7} {event} {fields}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line.rstrip()


def _utc(created: float, msecs: float) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{stamp}.{int(msecs):03d}Z"


def _shown(value: object, *, quote: bool = True) -> str:
    text = json.dumps(str(value), ensure_ascii=True)
    return text if quote and (" " in text or "\\" in text) else text[1:-1]


def set_up(level: str, style: Literal["human", "json"]) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # aiohttp's access log would show query strings, which may hold tokens.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
