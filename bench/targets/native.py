"""This server's own protocol, `sovits.tts.v1`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from bench.decode import AudioFormat
from bench.targets.base import TargetConfig
from bench.targets.sockets import (
    Address,
    Audio,
    Cancelled,
    Done,
    Failed,
    Heard,
    Message,
    Started,
)
from clients import events
from clients.events import SUBPROTOCOL, parse_audio, parse_message
from clients.stream_client import socket_url

_CLOCK_HZ = 48000


class Native:
    """See Dialect. `lead_ms` is 0: everything is sent as fast as it is made."""

    is_announced = True
    is_greeted = True

    def __init__(self, config: TargetConfig) -> None:
        self._config = config
        self.format = config.format
        self._names = itertools.count(1)
        self._ctx = ""
        self._alias: int | None = None

    def address(self) -> Address:
        """See Dialect."""
        key = self._config.key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return Address(socket_url(self._config.url), headers, (SUBPROTOCOL,))

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._ctx, self._alias = f"bench-{next(self._names)}", None
        config = self._config
        settings = {
            "voice": config.voice,
            "lang": config.language,
            "seed": config.seed,
            "format": {"codec": config.format.codec, "rate": config.format.rate_hz},
            "lead_ms": 0,
            **config.options,
        }
        known = {name: value for name, value in settings.items() if value is not None}
        return [self._message("context.open", **known)]

    def text(self, token: str) -> Sequence[Message]:
        """See Dialect."""
        return [self._message("text", text=token)]

    def end(self) -> Sequence[Message]:
        """See Dialect."""
        return [self._message("end")]

    def cancel(self) -> Sequence[Message]:
        """See Dialect."""
        return [self._message("cancel")]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        if isinstance(message, bytes):
            alias, packets = parse_audio(message)
            if alias != self._alias:
                return []
            return [Audio(packet.payload, packet.seq) for packet in packets]
        parsed = parse_message(message)
        if isinstance(parsed, events.Failed) and parsed.ctx in ("", self._ctx) and parsed.fatal:
            return [Failed(f"{parsed.code}: {parsed.message}")]
        if parsed is None or getattr(parsed, "ctx", None) != self._ctx:
            return []
        match parsed:
            case events.ContextStarted():
                self._alias = parsed.alias
                return [Started(AudioFormat(parsed.codec, parsed.rate, parsed.pre_skip))]
            case events.ContextDone():
                return [Done(parsed.total_samples48 / _CLOCK_HZ)]
            case events.ContextCancelled():
                return [Cancelled()]
            case events.Failed() if self._alias is None:
                return [Failed(f"{parsed.code}: {parsed.message}")]
        return []

    def _message(self, kind: str, **fields: object) -> str:
        return json.dumps({"type": kind, "ctx": self._ctx, **fields}, ensure_ascii=False)
