"""This server's own protocol, `sovits.tts.v1`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.decode import AudioFormat
from bench.targets.adapter import SocketAdapter
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


class Native(SocketAdapter):
    """See Dialect. `lead_ms` is 0: everything is sent as fast as it is made."""

    codecs = {name: name for name in ("pcm_s16le", "opus", "mulaw", "alaw")}
    is_announced = True
    is_greeted = True

    def __init__(self, config: TargetConfig) -> None:
        super().__init__(config)
        self._alias: int | None = None

    def address(self) -> Address:
        """See Dialect."""
        return Address(socket_url(self._config.url), self._key(), (SUBPROTOCOL,))

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._begin()
        self._alias = None
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
        if isinstance(parsed, events.Failed) and parsed.ctx in ("", self._name) and parsed.fatal:
            return [Failed(f"{parsed.code}: {parsed.message}")]
        if parsed is None or getattr(parsed, "ctx", None) != self._name:
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
        return json.dumps({"type": kind, "ctx": self._name, **fields}, ensure_ascii=False)
