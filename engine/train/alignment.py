"""Frame labels from a teacher's phonemes and durations."""

from __future__ import annotations

import numpy as np

from engine.train.store import Entry
from engine.types import Array

SILENCE = "_"
_STRESS = "ˈˌ"  # stands before the vowel it belongs to
_TAIL = "→↗↓↘ː"  # tones and length stand after it
_MARKS = ' .,!?;:"…—()“”'


def segments(entry: Entry) -> tuple[list[str], Array]:
    """Return the teacher's symbols with modifiers merged into their phoneme, and their ends in s.

    A stress mark counts to the vowel after it, a tone or length mark to the one before; padding
    and punctuation are silence.
    """
    symbols = list(entry.symbols)
    for i in range(len(symbols) - 1, -1, -1):
        if symbols[i] and symbols[i] in _STRESS:
            symbols[i] = symbols[i + 1]
    for i in range(1, len(symbols)):
        if symbols[i] and symbols[i] in _TAIL:
            symbols[i] = symbols[i - 1]
    named = [SILENCE if not s or s in _MARKS else s for s in symbols]
    return named, np.cumsum(np.asarray(entry.durations_s, np.float64))


def labels(entry: Entry, num_frames: int, frame_s: float, stretch: float = 1.0) -> list[str]:
    """Return the teacher's phoneme at the middle of each frame.

    Args:
        entry: With an alignment.
        num_frames: How many.
        frame_s: Their length.
        stretch: Length of the wave that is labelled over that of the aligned one.
    """
    named, ends = segments(entry)
    middle = (np.arange(num_frames) + 0.5) * frame_s / stretch
    where = np.minimum(np.searchsorted(ends, middle, side="right"), len(named) - 1)
    return [named[i] for i in where]
