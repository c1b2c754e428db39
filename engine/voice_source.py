"""Where the engine gets prepared voices from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engine.client import VoiceInfo
from engine.errors import VoiceError
from engine.types import Style, Voice


class VoiceSource(Protocol):
    """Voices by id; safe to call from any thread."""

    def style(self, voice_id: str, style: str) -> Style:
        """Return a prepared style.

        Raises:
            VoiceError: Unknown voice or style, or a voice of another pack.
        """
        ...

    def infos(self) -> tuple[VoiceInfo, ...]:
        """Return what may be said of each voice, sorted by id."""
        ...

    def reload(self) -> None:
        """Look again at what is there."""
        ...


class VoiceTable:
    """A fixed set of voices."""

    def __init__(self, voices: Mapping[str, Voice]) -> None:
        self._voices = dict(voices)

    def style(self, voice_id: str, style: str) -> Style:
        """See VoiceSource."""
        voice = self._voices.get(voice_id)
        if voice is None:
            raise VoiceError(f"there is no voice {voice_id!r}; there are: {_names(self._voices)}")
        found = voice.styles.get(style)
        if found is None:
            known = _names(voice.styles)
            raise VoiceError(f"voice {voice_id!r} has no style {style!r}; it has: {known}")
        return found

    def infos(self) -> tuple[VoiceInfo, ...]:
        """See VoiceSource."""
        return tuple(describe_voice(self._voices[name]) for name in sorted(self._voices))

    def reload(self) -> None:
        """See VoiceSource; a fixed set stays as it is."""


def describe_voice(voice: Voice) -> VoiceInfo:
    """Return what may be said of a voice to anybody."""
    return VoiceInfo(
        id=voice.id,
        language=voice.styles["default"].language,
        styles=tuple(sorted(voice.styles)),
        description=voice.description,
    )


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
