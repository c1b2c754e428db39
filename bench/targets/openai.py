"""OpenAI-style `/v1/audio/speech`."""

from __future__ import annotations

from bench.decode import AudioFormat
from bench.targets.base import TargetConfig
from bench.targets.http import Request
from bench.targets.urls import http_address
from engine.errors import InvalidParameter

_NAMES = {"pcm_s16le": "pcm", "wav": "wav", "ogg": "opus"}
_RATE_HZ = 24000  # of `pcm`, which says no rate


class OpenAI:
    """See HttpDialect."""

    def __init__(self, config: TargetConfig) -> None:
        """Check the codec.

        Raises:
            InvalidParameter: If the dialect has no such codec.
        """
        if config.format.codec not in _NAMES:
            raise InvalidParameter("codec", config.format.codec, ", ".join(_NAMES))
        self._config = config
        self.format = AudioFormat(config.format.codec, _RATE_HZ)

    def request(self, text: str) -> Request:
        """See HttpDialect."""
        config = self._config
        body: dict[str, object] = {
            "model": "tts-1",
            "input": text,
            "voice": config.voice or "alloy",
            "response_format": _NAMES[config.format.codec],
        }
        headers = {"Authorization": f"Bearer {config.key}"} if config.key else {}
        address = http_address(config.url, "/v1/audio/speech")
        return Request(address, headers, {**body, **config.options})
