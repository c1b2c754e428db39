"""How far a mouth is open while speech sounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clients.events import CLOCK_HZ

STEP_S = 0.02
FLOOR_DB = -50.0  # closed
RANGE_DB = 38.0  # up to wide open
RELEASE = 0.35  # of the way to closed per step: mouths open faster than they close
_INT16_FULL_SCALE = 32768.0
_SILENT_DB = -96.0
_RELEASE_STEPS = 8  # after which nothing is left of a level


def openness(level_db: float) -> float:
    """Return 0 (closed) to 1 (open) for a level in dBFS (RMS)."""
    return min(1.0, max(0.0, (level_db - FLOOR_DB) / RANGE_DB))


class LipTrack:
    """Levels of one context by their time, from its samples or from the server's timings.

    What comes from timings replaces what came from samples: it is measured before the codec.
    """

    def __init__(self) -> None:
        self._sampled_db: list[float] = []
        self._timed_db: dict[int, float] = {}  # by step
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    @property
    def duration_s(self) -> float:
        """How much is known."""
        return max(len(self._sampled_db), max(self._timed_db, default=-1) + 1) * STEP_S

    def add_samples(self, data: bytes, rate_hz: int) -> None:
        """Append samples, int16 little-endian."""
        size = round(rate_hz * STEP_S)
        samples = np.concatenate([self._rest, np.frombuffer(data, "<i2")])
        count = len(samples) // size
        self._rest = samples[count * size :]
        for block in samples[: count * size].reshape(count, size):
            power = float(np.mean((block / _INT16_FULL_SCALE) ** 2))
            self._sampled_db.append(max(_SILENT_DB, 10 * float(np.log10(max(power, 1e-12)))))

    def add_timing(self, pts: int, rms: Sequence[int]) -> None:
        """Take the levels of a sentence that begins at `pts` (48 kHz), in dBFS per 20 ms."""
        first = round(pts / CLOCK_HZ / STEP_S)
        self._timed_db.update({first + i: float(level) for i, level in enumerate(rms)})

    def openness_at(self, time_s: float) -> float:
        """Return how far the mouth is open at a time; it closes over some steps, not at once."""
        if time_s < 0:
            return 0.0
        last = int(time_s / STEP_S)
        steps = range(max(0, last - _RELEASE_STEPS), last + 1)
        fading = ((1 - RELEASE) ** (last - i) * openness(self._level_db(i)) for i in steps)
        return max(fading)

    def _level_db(self, step: int) -> float:
        if step in self._timed_db:
            return self._timed_db[step]
        return self._sampled_db[step] if step < len(self._sampled_db) else _SILENT_DB
