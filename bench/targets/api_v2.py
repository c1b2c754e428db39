"""GPT-SoVITS api_v2 `/tts`; what it needs, such as ref_audio_path, is given as options."""

from __future__ import annotations

from bench.targets.base import TargetConfig
from bench.targets.http import Request
from bench.targets.urls import http_address
from engine.errors import InvalidParameter

_NAMES = {"wav": "wav", "pcm_s16le": "raw"}


class ApiV2:
    """See HttpDialect. Streams by default in mode 3, the one with the fastest first audio."""

    def __init__(self, config: TargetConfig) -> None:
        """Check the codec.

        Raises:
            InvalidParameter: If the dialect has no such codec.
        """
        if config.format.codec not in _NAMES:
            raise InvalidParameter("codec", config.format.codec, ", ".join(_NAMES))
        self._config = config
        self.format = config.format

    def request(self, text: str) -> Request:
        """See HttpDialect."""
        config = self._config
        language = config.language or "auto"
        body: dict[str, object] = {
            "text": text,
            "text_lang": language,
            "prompt_lang": language,
            "ref_audio_path": config.voice or "default",
            "media_type": _NAMES[config.format.codec],
            "streaming_mode": 3,
        }
        if config.seed is not None:
            body["seed"] = config.seed
        headers = {"Authorization": f"Bearer {config.key}"} if config.key else {}
        return Request(http_address(config.url, "/tts"), headers, {**body, **config.options})
