"""Prepared features on disk: one safetensors file per utterance and one index.

Each file is written under a temporary name and renamed, so a run that is killed leaves whole files
only and the next one goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from engine.errors import CheckpointError
from engine.types import Array

INDEX = "index.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one utterance besides its features.

    `symbols` and `durations_s` are a teacher's alignment, where there is one.
    """

    id: str
    speaker: str
    language: str
    text: str
    seconds: float
    symbols: tuple[str, ...] = ()
    durations_s: tuple[float, ...] = ()
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the trainers read of one utterance; T tokens, F = 2T frames, N = F * hop samples.

    Shapes: wave int16 [N]; ssl float16 [F, S]; hz float32 [F]; voiced bool [F];
    speaker float32 [E]; phoneme_ids int64 [P]; word_lens int64 [W], phonemes per word;
    warped float16 [F', S], the features of a copy by another speaker, and stretch float32 [1], its
    length over the wave's; None where no copy was made.
    """

    wave: Array
    ssl: Array
    hz: Array
    voiced: Array
    speaker: Array
    phoneme_ids: Array
    word_lens: Array
    warped: Array | None = None
    stretch: Array | None = None


class FeatureStore:
    """A folder of `Features`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}
        index = root / INDEX
        if index.exists():
            for line in index.read_text(encoding="utf-8").splitlines():
                entry = _parse(line, index)
                self.entries[entry.id] = entry

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def add(self, entry: Entry, features: Features) -> None:
        """Write one utterance; it is in the index only when its file is complete."""
        self.root.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: np.ascontiguousarray(value)
            for name, value in asdict(features).items()
            if value is not None
        }
        path = self._path(entry.id)
        temporary = path.with_suffix(".part")
        save_file(tensors, temporary)
        temporary.replace(path)
        with (self.root / INDEX).open("a", encoding="utf-8") as index:
            index.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        self.entries[entry.id] = entry

    def load(self, utterance_id: str) -> Features:
        """Read the features of one utterance.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = self._path(utterance_id)
        try:
            return Features(**load_file(path))
        except Exception as error:
            raise CheckpointError(
                f"{path}: {error}; delete it and run `sovits-live train prepare` again"
            ) from error

    def _path(self, utterance_id: str) -> Path:
        return self.root / f"{utterance_id}.safetensors"


def split(entries: Sequence[Entry], held_out: int) -> tuple[list[Entry], list[Entry]]:
    """Return training entries and `held_out` validation entries, spread evenly over the list."""
    if held_out <= 0 or len(entries) < 2 * held_out:
        return list(entries), list(entries[:0])
    step = len(entries) / held_out
    chosen = {int(step * (i + 0.5)) for i in range(held_out)}
    train = [entry for i, entry in enumerate(entries) if i not in chosen]
    return train, [entries[i] for i in sorted(chosen)]


def _parse(line: str, path: Path) -> Entry:
    try:
        data = json.loads(line)
        data["symbols"] = tuple(data["symbols"])
        data["durations_s"] = tuple(data["durations_s"])
        return Entry(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: unreadable line {line!r:.80}: {error}") from error
