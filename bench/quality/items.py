"""What was spoken and how it was judged: two files of JSON lines in a folder, each added to.

A run that is stopped goes on where it was: what has its line is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import soundfile

from engine.errors import InvalidParameter
from engine.types import FloatArray, Language

# What a recording is kept for, the `list` of its item: to know a speaker by, or to be spoken again.
SPEAKER, AGAIN = "speaker", "again"
SETTINGS, SPOKEN, JUDGED = "settings.json", "spoken.jsonl", "judged.jsonl"


class Kind(StrEnum):
    """What an item is evidence of."""

    SENTENCE = "sentence"  # a voice reads a line of a list
    TEACHER = "teacher"  # the teacher's reading of the same line
    CLONE = "clone"  # a voice from one recording of a speaker, its own language
    CROSS = "cross"  # the same voice, the other language
    ORIGINAL = "original"  # a recording
    RESYNTHESIS = "resynthesis"  # its tokens, spoken
    RUN = "run"  # only length and collapse count; no file is kept
    STREAM = "stream"  # the same sentence streamed and whole


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance.

    Attributes:
        file: Below the folder; "" where no audio is kept.
        line: Id in its list; the recording's name for an original.
        voice: Whose voice was asked for.
        forms: What counts as right, the text first.
        expected_s: Usual length of that text; 0 where unknown.
        figures: What speaking itself measured.
    """

    id: str
    kind: Kind
    list: str
    line: str
    language: Language
    voice: str
    forms: tuple[str, ...]
    file: str = ""
    seconds: float = 0.0
    expected_s: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)


class Folder:
    """A folder of items and judgements."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items = {item.id: item for item in self._read()}

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begin, or go on with the same settings.

        Raises:
            InvalidParameter: The folder was begun with others.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / SETTINGS
        if not path.exists():
            path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        there = self.settings()
        wrong = [k for k in settings if there.get(k) != json.loads(json.dumps(settings[k]))]
        if wrong:
            was = ", ".join(f"{key} {there.get(key)!r}" for key in wrong)
            raise InvalidParameter("folder", str(self.path), f"a new one: this has {was:.300}")

    def settings(self) -> dict[str, Any]:
        """Return what the folder was begun with.

        Raises:
            InvalidParameter: It is no such folder.
        """
        try:
            data: dict[str, Any] = json.loads((self.path / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            made = "a folder that `bench quality speak` made"
            raise InvalidParameter("folder", str(self.path), f"{made} ({error})") from None
        return data

    def add(self, item: Item, samples: FloatArray | None = None, rate_hz: int = 0) -> None:
        """Keep an item, and its audio if it names a file."""
        if samples is not None:
            path = self.path / item.file
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, rate_hz, subtype="PCM_16")
        _append(self.path / SPOKEN, asdict(item))
        self.items[item.id] = item

    def judgements(self) -> dict[str, dict[str, Any]]:
        """Return the judges' figures by item."""
        return {line.pop("id"): line for line in _lines(self.path / JUDGED)}

    def add_judgement(self, item_id: str, figures: Mapping[str, Any]) -> None:
        """Keep the figures of an item."""
        _append(self.path / JUDGED, {"id": item_id, **figures})

    def _read(self) -> Iterator[Item]:
        for data in _lines(self.path / SPOKEN):
            kinds = {"kind": Kind(data["kind"]), "language": Language(data["language"])}
            yield Item(**{**data, **kinds, "forms": tuple(data["forms"])})


def _append(path: Path, data: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data, ensure_ascii=False) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines; the last one may have been cut off by a kill."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
