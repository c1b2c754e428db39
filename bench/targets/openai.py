"""OpenAI-style `/v1/audio/speech`."""

from __future__ import annotations

from bench.decode import AudioFormat
from bench.targets.adapter import Adapter
from bench.targets.base import TargetConfig
from bench.targets.http import Request
from bench.targets.urls import http_address

_RATE_HZ = 24000  # of `pcm`, which says no rate


class OpenAI(Adapter):
    """See HttpDialect."""

    codecs = {"pcm_s16le": "pcm", "wav": "wav", "ogg": "opus"}

    def __init__(self, config: TargetConfig) -> None:
        super().__init__(config)
        self.format = AudioFormat(config.format.codec, _RATE_HZ)

    def request(self, text: str) -> Request:
        """See HttpDialect."""
        config = self._config
        body: dict[str, object] = {
            "model": "tts-1",
            "input": text,
            "voice": config.voice or "alloy",
            "response_format": self._codec,
        }
        address = http_address(config.url, "/v1/audio/speech")
        return Request(address, self._key(), {**body, **config.options})
