"""Every error code of the wire, and what it means for HTTP and for the socket.

An application code carries an HTTP-like status; where it ends the session, the WebSocket close code
is `4000 + status` (proxies and logs stay readable) unless the standard has one of its own.
Nothing here imports the engine: its errors arrive as their `code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One line of the table.

    Attributes:
        status: The HTTP status of the same trouble.
        close: The WebSocket close code when it ends the session.
        retryable: True if the same request may succeed later unchanged.
    """

    code: str
    status: int
    close: int
    retryable: bool = False


def _table(*codes: ErrorCode) -> Mapping[str, ErrorCode]:
    return MappingProxyType({entry.code: entry for entry in codes})


ERROR_CODES = _table(
    ErrorCode("bad_json", 400, 4400),
    ErrorCode("bad_message", 400, 4400),
    ErrorCode("binary_not_allowed", 400, 1003),
    ErrorCode("unauthorized", 401, 4401),
    ErrorCode("token_expired", 401, 4401),
    ErrorCode("forbidden_origin", 403, 4403),
    ErrorCode("forbidden_voice", 403, 4403),
    ErrorCode("forbidden_priority", 403, 4403),
    ErrorCode("voice_not_found", 404, 4404),
    ErrorCode("context_unknown", 404, 4404),
    ErrorCode("idle_timeout", 408, 4408, retryable=True),
    ErrorCode("session_expired", 408, 4408, retryable=True),
    ErrorCode("context_limit", 409, 4409),
    ErrorCode("context_conflict", 409, 4409),
    ErrorCode("text_too_long", 413, 4413),
    ErrorCode("buffer_full", 413, 4413),
    ErrorCode("unsupported_format", 415, 4415),
    ErrorCode("bad_reference", 422, 4422),
    ErrorCode("unsupported_lang", 422, 4422),
    ErrorCode("rate_limited", 429, 4429, retryable=True),
    ErrorCode("quota_exceeded", 429, 4429, retryable=True),
    ErrorCode("slow_consumer", 480, 4480, retryable=True),
    ErrorCode("internal", 500, 1011, retryable=True),
    ErrorCode("engine_failed", 500, 1011, retryable=True),
    ErrorCode("no_audio", 500, 1011, retryable=True),
    ErrorCode("overloaded", 503, 1013, retryable=True),
    ErrorCode("warming_up", 503, 1013, retryable=True),
    ErrorCode("draining", 503, 1012, retryable=True),
    ErrorCode("synthesis_timeout", 504, 4504, retryable=True),
)


def error_code(code: str) -> ErrorCode:
    """Return the line of `code`; a code that is not ours is an `internal` one."""
    return ERROR_CODES.get(code, ERROR_CODES["internal"])


class ClientError(Exception):
    """What a client did wrong, or may not do now.

    Attributes:
        code: A key of `ERROR_CODES`.
        message: One sentence for a person: field, value, what is valid.
        ctx: The context it concerns, None when it concerns the session.
        retry_after_s: When it may succeed, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        ctx: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        assert code in ERROR_CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
        self.ctx = ctx
        self.retry_after_s = retry_after_s

    @property
    def retry_after_ms(self) -> int | None:
        """The same for the wire."""
        return None if self.retry_after_s is None else round(self.retry_after_s * 1000)


class ConfigError(Exception):
    """A configuration that cannot be used; names the key, the value and what is valid."""
