"""Cartesia-style `/tts/websocket`."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence

from bench.targets.base import TargetConfig
from bench.targets.sockets import Address, Audio, Cancelled, Done, Failed, Heard, Message
from bench.targets.urls import socket_address
from engine.errors import InvalidParameter

_NAMES = {"pcm_s16le": "pcm_s16le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_VERSION = "2025-04-16"


class Cartesia:
    """See Dialect. Text is spoken as it comes: `max_buffer_delay_ms` is 0."""

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
        self._numbers = itertools.count(1)
        self._context = ""
        self._is_stopped = False

    def address(self) -> Address:
        """See Dialect."""
        headers = {"Cartesia-Version": _VERSION}
        if self._config.key:
            headers["X-API-Key"] = self._config.key
        return Address(socket_address(self._config.url, "/tts/websocket"), headers)

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._context, self._is_stopped = f"bench-{next(self._numbers)}", False
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
        return [json.dumps({"context_id": self._context, "cancel": True})]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        parsed = json.loads(message)
        if parsed.get("context_id") not in (None, self._context):
            return []
        match parsed.get("type"):
            case "chunk":
                return [Audio(base64.b64decode(parsed["data"]))]
            case "done":
                return [Cancelled() if self._is_stopped else Done()]
            case "error":
                return [Failed(str(parsed.get("message") or parsed.get("error") or parsed))]
        return []

    def _request(self, text: str, *, is_more: bool) -> str:
        config = self._config
        request: dict[str, object] = {
            "context_id": self._context,
            "model_id": "sonic-3",
            "transcript": text,
            "voice": {"mode": "id", "id": config.voice or "default"},
            "output_format": {
                "container": "raw",
                "encoding": _NAMES[config.format.codec],
                "sample_rate": config.format.rate_hz,
            },
            "continue": is_more,
            "max_buffer_delay_ms": 0,
        }
        if config.language is not None:
            request["language"] = config.language
        return json.dumps({**request, **config.options}, ensure_ascii=False)
