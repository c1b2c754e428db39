"""Deepgram-style `/v1/speak`: text in JSON, bare audio out, without a name on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.targets.base import TargetConfig
from bench.targets.sockets import Address, Audio, Cancelled, Done, Failed, Heard, Message
from bench.targets.urls import socket_address
from engine.errors import InvalidParameter

_NAMES = {"pcm_s16le": "linear16", "mulaw": "mulaw", "alaw": "alaw"}


class Deepgram:
    """See Dialect."""

    is_announced = False
    is_greeted = False

    def __init__(self, config: TargetConfig) -> None:
        """Check the codec.

        Raises:
            InvalidParameter: If the dialect has no such codec.
        """
        if config.format.codec not in _NAMES:
            raise InvalidParameter("codec", config.format.codec, ", ".join(_NAMES))
        self._config = config
        self.format = config.format

    def address(self) -> Address:
        """See Dialect."""
        config = self._config
        query: dict[str, object] = {
            "encoding": _NAMES[config.format.codec],
            "sample_rate": config.format.rate_hz,
            **config.options,
        }
        if config.voice is not None:
            query["model"] = config.voice
        headers = {"Authorization": f"Token {config.key}"} if config.key else {}
        address = socket_address(config.url, "/v1/speak")
        return Address(f"{address}?{urlencode(query)}", headers)

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
