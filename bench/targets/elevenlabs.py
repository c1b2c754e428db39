"""ElevenLabs-style `/v1/text-to-speech/VOICE/multi-stream-input`."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.targets.base import TargetConfig
from bench.targets.sockets import Address, Audio, Cancelled, Done, Failed, Heard, Message
from bench.targets.urls import socket_address
from engine.errors import InvalidParameter

_NAMES = {"pcm_s16le": "pcm", "mulaw": "ulaw", "alaw": "alaw"}


class ElevenLabs:
    """See Dialect. The context opens before the clock starts, as a client that is ready does."""

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
        config = self._config
        query = {
            "output_format": f"{_NAMES[config.format.codec]}_{config.format.rate_hz}",
            "auto_mode": "true",
            "language_code": config.language,
            "seed": config.seed,
            **config.options,
        }
        pairs = urlencode({name: value for name, value in query.items() if value is not None})
        path = f"/v1/text-to-speech/{config.voice or 'default'}/multi-stream-input"
        headers = {"xi-api-key": config.key} if config.key else {}
        return Address(f"{socket_address(config.url, path)}?{pairs}", headers)

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._context, self._is_stopped = f"bench-{next(self._numbers)}", False
        return [self._message(text=" ")]

    def text(self, token: str) -> Sequence[Message]:
        """See Dialect."""
        return [self._message(text=token)]

    def end(self) -> Sequence[Message]:
        """See Dialect."""
        return [self._message(flush=True), self._message(close_context=True)]

    def cancel(self) -> Sequence[Message]:
        """See Dialect."""
        self._is_stopped = True
        return [self._message(close_context=True)]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        parsed = json.loads(message)
        name = parsed.get("contextId", parsed.get("context_id"))
        if name not in (None, self._context):
            return []
        if parsed.get("error"):
            return [Failed(str(parsed["error"]))]
        heard: list[Heard] = []
        if parsed.get("audio"):
            heard.append(Audio(base64.b64decode(parsed["audio"])))
        if parsed.get("isFinal") and name == self._context:
            heard.append(Cancelled() if self._is_stopped else Done())
        return heard

    def _message(self, **fields: object) -> str:
        return json.dumps({**fields, "context_id": self._context}, ensure_ascii=False)
