"""How many listeners the engine can feed in real time, from what its work has cost. Pure.

Its two lanes work side by side, so each must keep up alone (engine.scheduler):

    semantic   steps for all rows together, and a prefill for every sentence
    acoustic   one chunk after another, whoever it is for

A step's time depends on its rows, so it is kept by batch size. A size not seen yet is taken to cost
what the next smaller one did: that is too little, and corrected as soon as one listener more is
there.
"""

from __future__ import annotations

from collections import defaultdict

from engine.client import EngineStats

_HEADROOM = 0.9  # of a lane's time
_MEMORY_S = 60.0  # of audio: older work counts for less than half
_EVIDENCE_S = 10.0  # of audio, before anything is concluded
_MIN_STEPS = 10.0  # of a batch size, before its time is believed
_MOST = 1000  # nobody asks for more


class Capacity:
    """See the module docstring.

    Attributes:
        streams: How many can be fed; None while that is not known, and where one is too many
            already: refusing the others would not help the one.
    """

    def __init__(self) -> None:
        self.streams: int | None = None
        self._last = EngineStats()
        # Sums of what was observed, older work fading away.
        self._audio_s = 0.0
        self._tokens = 0.0
        self._acoustic_s = 0.0
        self._prefill_s = 0.0
        self._steps: defaultdict[int, float] = defaultdict(float)  # by batch size
        self._step_s: defaultdict[int, float] = defaultdict(float)

    def skip(self, stats: EngineStats) -> None:
        """Conclude nothing from what was done since the last counters."""
        self._last = stats

    def observe(self, stats: EngineStats, num_slots: int) -> None:
        """Take the engine's counters of now."""
        last = self._last
        if stats.audio_s < last.audio_s:  # it was started again
            last = EngineStats()
        audio_s = stats.audio_s - last.audio_s
        if not audio_s:
            return
        self._last = stats
        self._fade(0.5 ** (audio_s / _MEMORY_S))
        acoustic_s = stats.acoustic_busy_s - last.acoustic_busy_s
        semantic_s = stats.busy_s - last.busy_s - acoustic_s
        self._audio_s += audio_s
        self._tokens += stats.tokens - last.tokens
        self._acoustic_s += acoustic_s
        for size, seconds in stats.step_s_by_batch.items():
            step_s = seconds - last.step_s_by_batch.get(size, 0.0)
            self._step_s[size] += step_s
            self._steps[size] += stats.steps_by_batch[size] - last.steps_by_batch.get(size, 0)
            semantic_s -= step_s
        self._prefill_s += max(0.0, semantic_s)
        self.streams = self._most(num_slots) if self._audio_s >= _EVIDENCE_S else None

    def _fade(self, share: float) -> None:
        self._audio_s *= share
        self._tokens *= share
        self._acoustic_s *= share
        self._prefill_s *= share
        for sums in (self._steps, self._step_s):
            for size in sums:
                sums[size] *= share

    def _most(self, num_slots: int) -> int | None:
        count = 0
        while count < _MOST and self._load(count + 1, num_slots) <= _HEADROOM:
            count += 1
        return count or None

    def _load(self, streams: int, num_slots: int) -> float:
        """Return the share of its time that the busier lane would work for so many."""
        per_audio_s = streams / self._audio_s
        rows = min(streams, num_slots)
        steps = self._tokens * per_audio_s / rows
        semantic = steps * self._time_of_step(rows) + self._prefill_s * per_audio_s
        return max(semantic, self._acoustic_s * per_audio_s)

    def _time_of_step(self, rows: int) -> float:
        known = [size for size, steps in self._steps.items() if steps >= _MIN_STEPS]
        smaller = [size for size in known if size <= rows]
        if not known:
            return 0.0
        size = max(smaller) if smaller else min(known)
        return self._step_s[size] / self._steps[size]
