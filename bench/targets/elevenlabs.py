"""ElevenLabs-style `/v1/text-to-speech/VOICE/multi-stream-input`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.targets.adapter import SocketAdapter
from bench.targets.sockets import Address, Audio, Failed, Heard, Message
from bench.targets.urls import socket_address


class ElevenLabs(SocketAdapter):
    """See Dialect. The context opens before the clock starts, as a client that is ready does.

    `auto_mode` speaks each message as it comes, which is for whole phrases: tokens are left to the
    service's own schedule.
    """

    codecs = {"pcm_s16le": "pcm", "mulaw": "ulaw", "alaw": "alaw"}

    def address(self) -> Address:
        """See Dialect."""
        config = self._config
        query = {
            "output_format": f"{self._codec}_{config.format.rate_hz}",
            "auto_mode": None if config.writes_tokens else "true",
            "language_code": config.language,
            "seed": config.seed,
            **config.options,
        }
        pairs = urlencode({name: value for name, value in query.items() if value is not None})
        path = f"/v1/text-to-speech/{config.voice or 'default'}/multi-stream-input"
        return Address(f"{socket_address(config.url, path)}?{pairs}", self._key("xi-api-key", ""))

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._begin()
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
        if name not in (None, self._name):
            return []
        if parsed.get("error"):
            return [Failed(str(parsed["error"]))]
        heard: list[Heard] = []
        if parsed.get("audio"):
            heard.append(Audio(base64.b64decode(parsed["audio"])))
        if parsed.get("isFinal") and name == self._name:
            heard.append(self._ended())
        return heard

    def _message(self, **fields: object) -> str:
        return json.dumps({**fields, "context_id": self._name}, ensure_ascii=False)
