"""A folder of recordings: cut at pauses, transcribed once, everything left out is named."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.audio.io import Recording
from engine.errors import BackendUnavailable, CheckpointError
from engine.train.recordings import listed, pieces, transcribed
from engine.train.transcribe import Whisper, Words
from engine.types import FloatArray, Language
from tests.speechlike import silence, speechlike, write_wav

RATE_HZ = 16000


class Clerk:
    """Writes how many seconds it heard, and nothing of short pieces."""

    def __init__(self) -> None:
        self.heard = 0

    def transcribe(self, samples_16k: FloatArray, language: Language | None) -> Words:
        self.heard += 1
        seconds = len(samples_16k) / RATE_HZ
        return Words(f"about {seconds:.0f} | seconds" if seconds > 3 else "...", Language.EN)


def _talk(*seconds: float) -> FloatArray:
    """Return speech of the given lengths, with a second of silence between."""
    parts: list[FloatArray] = []
    for length in seconds:
        parts += [silence(1.0, RATE_HZ), speechlike(length, RATE_HZ)]
    return np.concatenate([*parts, silence(1.0, RATE_HZ)])


def test_recordings_are_cut_at_pauses() -> None:
    """Pieces are 2 to 10 s; what is shorter is left out, what has no pause is cut in parts."""
    found = pieces(Recording(_talk(4.0, 1.0, 24.0), RATE_HZ))
    assert [round(piece.duration_s) for piece in found] == [4, 8, 8, 8]


def test_folder_is_transcribed_once_and_its_list_can_be_corrected(tmp_path: Path) -> None:
    """Silent and damaged files and pieces without words are named; the list is used as it is."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_wav(folder / "a.wav", _talk(5.0, 2.5), RATE_HZ)
    write_wav(folder / "b.wav", silence(3.0, RATE_HZ), RATE_HZ)
    (folder / "c.mp3").write_bytes(b"no sound")
    (folder / "notes.md").write_text("not audio")
    clerk = Clerk()
    found = transcribed(folder, tmp_path / "pieces", "me", lambda: clerk, None)
    assert [(s.path.name, s.speaker, s.language, s.text) for s in found.sources] == [
        ("a-001.wav", "me", "en", "about 5 seconds")
    ]
    assert {s.where for s in found.skipped} == {"a-002.wav", "b.wav", "c.mp3"}
    listing = tmp_path / "pieces" / "list.txt"
    listing.write_text("a-001.wav|me|en|five seconds\n", encoding="utf-8")
    again = transcribed(folder, tmp_path / "pieces", "me", lambda: clerk, None)
    assert [s.text for s in again.sources] == ["five seconds"]
    assert clerk.heard == 2


def test_nothing_usable_is_one_clear_error(tmp_path: Path) -> None:
    """It counts the files and gives the first reason; a missing folder is said too."""
    write_wav(tmp_path / "b.wav", silence(3.0, RATE_HZ), RATE_HZ)
    with pytest.raises(CheckpointError, match=r"1 skipped; the first: b.wav: .*speech"):
        transcribed(tmp_path, tmp_path / "pieces", "me", Clerk, None)
    with pytest.raises(CheckpointError, match="not a folder"):
        asked = partial(pytest.fail, "a transcriber was asked for in vain")
        transcribed(tmp_path / "none", tmp_path / "pieces", "me", asked, None)


def test_files_a_list_does_not_name_are_reported(tmp_path: Path) -> None:
    """They are not used, and not passed over in silence."""
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, speechlike(1.0, RATE_HZ), RATE_HZ)
    (tmp_path / "list.txt").write_text("a.wav|me|en|hello\nwrong line\n", encoding="utf-8")
    found = listed(tmp_path, tmp_path / "list.txt")
    assert [source.path.name for source in found.sources] == ["a.wav"]
    assert {s.where for s in found.skipped} == {"b.wav", "list.txt:2"}


def test_missing_recogniser_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that a list does as well."""
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", None)
    with pytest.raises(BackendUnavailable, match=r"faster-whisper.*path\|speaker\|language\|text"):
        Whisper()
