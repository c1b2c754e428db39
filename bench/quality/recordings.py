"""Recordings of people (or of a teacher): read from a list, enrolled as voices."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.quality.speaker import Settings
from engine.audio.io import Recording, read_audio
from engine.enroll import Prompt, open_enroller
from engine.errors import InvalidParameter, SovitsError
from engine.pack import load_pack
from engine.train.prepare import Skipped, read_list
from engine.types import Language, Voice
from engine.voice_files import DEFAULT_STYLE
from engine.voices import VoiceStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording, who speaks and what is said."""

    path: Path
    speaker: str
    language: Language
    text: str

    def read(self) -> Recording:
        """Return its samples.

        Raises:
            VoiceError: It cannot be read.
        """
        return read_audio(self.path)


def read_recorded(path: Path) -> list[Recorded]:
    """Return the recordings of a list, lines `path|speaker|language|text`.

    Raises:
        CheckpointError: The list cannot be read.
        InvalidParameter: It names nothing.
    """
    skipped: list[Skipped] = []
    found = [
        Recorded(source.path, source.speaker, Language(source.language), source.text)
        for source in read_list(path, skipped)
    ]
    for problem in skipped:
        logger.warning("%s: %s", problem.where, problem.reason)
    if not found:
        raise InvalidParameter("list", str(path), "lines path|speaker|language|text")
    return found


def clone_voices(
    settings: Settings, speakers: Mapping[str, Recorded], voices_dir: Path
) -> dict[str, str]:
    """Enrol every speaker; returns voice ids by speaker, without those that cannot be enrolled."""
    pack = load_pack(settings.pack)
    enroller = open_enroller(pack, settings.backend)
    store = VoiceStore(voices_dir)
    names = {}
    for speaker, rec in speakers.items():
        voice_id = "spk-" + re.sub(r"[^a-z0-9]+", "-", speaker.lower()).strip("-")
        try:
            if not (voices_dir / voice_id).exists():
                style = enroller.enroll(Prompt(rec.read(), rec.text, rec.language)).style
                voice = Voice(voice_id, pack.fingerprint, {DEFAULT_STYLE: style})
                store.save(voice, pack.name)
            names[speaker] = voice_id
        except SovitsError as error:
            logger.warning("%s cannot be enrolled: %s", speaker, error)
    return names
