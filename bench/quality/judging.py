"""The second half of `bench quality`: asks the judges about every utterance, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.quality.items import Folder, Item, Kind
from bench.quality.judges import RATE_HZ, DistillMos, Verifier, Whisper, pesq, stoi
from bench.quality.text_scores import errors, pinyin_errors
from bench.quality.voice_scores import voice_print
from engine.audio.io import Recording, read_audio
from engine.errors import InvalidParameter
from engine.train.prepare import AUDIO_SUFFIXES
from engine.types import FloatArray, Language

# Utterances whose voice is compared with somebody's.
_WHOSE = (Kind.CLONE, Kind.CROSS, Kind.ORIGINAL)


def judge(folder: Folder, teacher: Path | None, progress: Callable[[str], None]) -> None:
    """Judge what has audio and no judgement yet, and the teacher's readings where there are any.

    Raises:
        BackendUnavailable: A judge is not installed.
        InvalidParameter: `teacher` has no reading of any line that was spoken.
    """
    if teacher is not None:
        _add_teacher(folder, teacher)
    judged = folder.judgements()
    waiting = [i for i in folder.items.values() if i.file and i.id not in judged]
    if not waiting:
        return
    panel = Panel()
    for item in waiting:
        folder.add_judgement(item.id, panel.judge(folder, item))
        progress(item.id)


class Panel:
    """All judges, loaded once."""

    def __init__(self) -> None:
        self._recogniser = Whisper()
        self._mos = DistillMos()
        self._verifier = Verifier()

    def judge(self, folder: Folder, item: Item) -> dict[str, Any]:
        """Return every figure of an utterance, JSON values."""
        audio = read_audio(folder.path / item.file)
        low = audio.at_rate(RATE_HZ)
        heard = self._recogniser.transcribe(low, item.language)
        found = errors(item.forms, heard)
        figures: dict[str, Any] = {
            "heard": heard,
            "edits": found.edits,
            "units": found.units,
            "mos": round(self._mos.score(low), 3),
        }
        if item.language is Language.ZH:
            by_sound = pinyin_errors(item.forms, heard)
            figures |= {"pinyin_edits": by_sound.edits, "pinyin_units": by_sound.units}
        if item.kind in _WHOSE:
            figures |= self._whose(audio, low)
        if item.kind is Kind.RESYNTHESIS:
            original = read_audio(folder.path / item.file.replace(item.kind, Kind.ORIGINAL, 1))
            figures |= _against(original.at_rate(RATE_HZ), low)
        return figures

    def _whose(self, audio: Recording, low: FloatArray) -> dict[str, Any]:
        measured = voice_print(audio.samples, audio.sample_rate_hz)
        embedding = [round(float(value), 4) for value in self._verifier.embed(low)]
        return {"embedding": embedding, "print": asdict(measured) if measured else None}


def _against(original: FloatArray, again: FloatArray) -> dict[str, float | None]:
    length = min(len(original), len(again))
    pair = original[:length], again[:length]
    scores = {"pesq": pesq(*pair), "stoi": stoi(*pair)}
    return {k: None if v is None else round(v, 3) for k, v in scores.items()}


def _add_teacher(folder: Folder, teacher: Path) -> None:
    """Add the teacher's reading of every line that was spoken from a list."""
    sentences = [i for i in folder.items.values() if i.kind is Kind.SENTENCE]
    found = 0
    for item in sentences:
        name = f"{Kind.TEACHER}/{item.line}"
        path = _reading(teacher, item)
        if path is None or name in folder.items:
            found += path is not None
            continue
        found += 1
        audio = read_audio(path)
        copy = replace(
            item,
            id=name,
            kind=Kind.TEACHER,
            voice="teacher",
            file=f"{name}.wav",
            seconds=round(audio.duration_s, 3),
            figures={},
        )
        folder.add(copy, audio.samples, audio.sample_rate_hz)
    if sentences and not found:
        line = sentences[0].line
        raise InvalidParameter("teacher", str(teacher), f"a folder with {line}.wav and so on")


def _reading(teacher: Path, item: Item) -> Path | None:
    for stem in (teacher / item.voice / item.line, teacher / item.line):
        for suffix in AUDIO_SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                return path
    return None
