"""Other services' names for voices and languages, as ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from server.dialects.settings import OPENAI_VOICES
from server.errors import ClientError
from server.runtime import Runtime
from server.settings import Settings

Spoken: TypeAlias = Literal["zh", "en", "ja", "ko", "yue", "auto"]
SPOKEN: tuple[Spoken, ...] = get_args(Spoken)
_LANGUAGES = {
    "cmn": "zh",
    "chinese": "zh",
    "zho": "zh",
    "eng": "en",
    "english": "en",
    "jpn": "ja",
    "japanese": "ja",
    "kor": "ko",
    "korean": "ko",
    "cantonese": "yue",
    "zh-hk": "yue",
    "zh-hant-hk": "yue",
    "zh-yue": "yue",
    "auto-yue": "yue",  # upstream: as auto, but what is Chinese is Cantonese
}


def with_voice(runtime: Runtime, settings: Settings, name: str | None) -> Settings:
    """Return `settings` with the voice a client named: an id, `id:style`, or an alias.

    Raises:
        ClientError: voice_not_found.
    """
    if not name:
        return settings
    section, voices = runtime.config.dialects, runtime.engine.voices
    target = section.voice_aliases.get(name, name)
    voice, _, style = target.partition(":")
    if voice not in voices and voice.lower() in voices:
        voice = voice.lower()
    if voice not in voices and target == name:
        is_alias = name.lower() in OPENAI_VOICES or name.lower() == "default"
        if not is_alias and section.unknown_voice == "refuse":
            valid = ", ".join(voices) or "none; add one with: sovits-live voice add"
            text = f"voice is {name!r:.80}, valid: {valid}, or a name of dialects.voice_aliases"
            raise ClientError("voice_not_found", text)
        return settings
    return replace(settings, voice=voice, style=style or settings.style)


def language(name: str | None, default: Spoken) -> Spoken:
    """Return a language as this server names it, such as `zh` for `zh-CN` or `all_zh`.

    A name that says nothing to us is `auto`: the text itself tells.
    """
    if not name:
        return default
    plain = name.strip().lower().replace("_", "-").removeprefix("all-")
    known = _LANGUAGES.get(plain)
    if known is None:
        plain = plain.partition("-")[0]
        known = _LANGUAGES.get(plain, plain)
    return next((spoken for spoken in SPOKEN if spoken == known), "auto")


def with_speed(settings: Settings, speed: object) -> Settings:
    """Return `settings` with the speed a client gave, if that is a number."""
    if isinstance(speed, int | float) and not isinstance(speed, bool):
        return replace(settings, speed=clamp_speed(speed))
    return settings


def clamp_speed(speed: float) -> float:
    """Return a speed within what can be spoken; other services' ranges are wider."""
    return min(2.0, max(0.5, speed))
