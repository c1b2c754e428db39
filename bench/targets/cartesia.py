"""Cartesia-style `/tts/websocket`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from bench.targets.adapter import SocketAdapter
from bench.targets.sockets import Address, Audio, Failed, Heard, Message
from bench.targets.urls import socket_address

_VERSION = "2025-04-16"


class Cartesia(SocketAdapter):
    """See Dialect. A phrase is spoken as it comes: `max_buffer_delay_ms` is 0.

    Tokens would be spoken one by one with that, so for them the service's own delay is kept.
    """

    codecs = {"pcm_s16le": "pcm_s16le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}

    def address(self) -> Address:
        """See Dialect."""
        headers = {"Cartesia-Version": _VERSION, **self._key("X-API-Key", "")}
        return Address(socket_address(self._config.url, "/tts/websocket"), headers)

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._begin()
        return []

    def text(self, token: str) -> Sequence[Message]:
        """See Dialect."""
        return [self._request(token, is_more=True)]

    def end(self) -> Sequence[Message]:
        """See Dialect."""
        return [self._request("", is_more=False)]

    def cancel(self) -> Sequence[Message]:
        """See Dialect."""
        self._is_stopped = True
        return [json.dumps({"context_id": self._name, "cancel": True})]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        parsed = json.loads(message)
        if parsed.get("context_id") not in (None, self._name):
            return []
        match parsed.get("type"):
            case "chunk":
                return [Audio(base64.b64decode(parsed["data"]))]
            case "done":
                return [self._ended()]
            case "error":
                return [Failed(str(parsed.get("message") or parsed.get("error") or parsed))]
        return []

    def _request(self, text: str, *, is_more: bool) -> str:
        config = self._config
        request: dict[str, object] = {
            "context_id": self._name,
            "model_id": "sonic-3",
            "transcript": text,
            "voice": {"mode": "id", "id": config.voice or "default"},
            "output_format": {
                "container": "raw",
                "encoding": self._codec,
                "sample_rate": config.format.rate_hz,
            },
            "continue": is_more,
        }
        if not config.writes_tokens:
            request["max_buffer_delay_ms"] = 0
        if config.language is not None:
            request["language"] = config.language
        return json.dumps({**request, **config.options}, ensure_ascii=False)
