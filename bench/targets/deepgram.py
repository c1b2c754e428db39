"""Deepgram-style `/v1/speak`: text in JSON, bare audio out, without a name on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.targets.adapter import SocketAdapter
from bench.targets.sockets import Address, Audio, Cancelled, Done, Failed, Heard, Message
from bench.targets.urls import socket_address


class Deepgram(SocketAdapter):
    """See Dialect."""

    codecs = {"pcm_s16le": "linear16", "mulaw": "mulaw", "alaw": "alaw"}

    def address(self) -> Address:
        """See Dialect."""
        config = self._config
        query: dict[str, object] = {
            "encoding": self._codec,
            "sample_rate": config.format.rate_hz,
            **config.options,
        }
        if config.voice is not None:
            query["model"] = config.voice
        address = socket_address(config.url, "/v1/speak")
        return Address(f"{address}?{urlencode(query)}", self._key(scheme="Token "))

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        return []

    def text(self, token: str) -> Sequence[Message]:
        """See Dialect."""
        return [json.dumps({"type": "Speak", "text": token}, ensure_ascii=False)]

    def end(self) -> Sequence[Message]:
        """See Dialect."""
        return [json.dumps({"type": "Flush"})]

    def cancel(self) -> Sequence[Message]:
        """See Dialect."""
        return [json.dumps({"type": "Clear"})]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        if isinstance(message, bytes):
            return [Audio(message)]
        parsed = json.loads(message)
        match parsed.get("type"):
            case "Flushed":
                return [Done()]
            case "Cleared":
                return [Cancelled()]
            case "Error":
                return [Failed(str(parsed.get("description") or parsed))]
        return []
