"""GPT-SoVITS api_v2 `/tts`; what it needs, such as ref_audio_path, is given as options."""

from __future__ import annotations

from bench.targets.adapter import Adapter
from bench.targets.http import Request
from bench.targets.urls import http_address


class ApiV2(Adapter):
    """See HttpDialect. Streams by default in mode 3, the one with the fastest first audio."""

    codecs = {"wav": "wav", "pcm_s16le": "raw"}

    def request(self, text: str) -> Request:
        """See HttpDialect."""
        config = self._config
        language = config.language or "auto"
        body: dict[str, object] = {
            "text": text,
            "text_lang": language,
            "prompt_lang": language,
            "ref_audio_path": config.voice or "default",
            "media_type": self._codec,
            "streaming_mode": 3,
        }
        if config.seed is not None:
            body["seed"] = config.seed
        address = http_address(config.url, "/tts")
        return Request(address, self._key(), {**body, **config.options})
