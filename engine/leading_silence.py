"""Leaves out the silence a model puts before a sentence, all but a set amount.

Models begin with 0.05 to 1.4 s of silence (measured on nano's voices), as their training sentences
do. A listener waits that long for nothing, and between sentences it adds to the pause the
punctuation asks for. The sentence is taken to begin 10 ms after the last window of 10 ms that is
quieter than THRESHOLD_DB; nano's onsets rise from -60 to -34 dBFS within 20 ms, so the exact level
matters little, and what is kept before the onset holds the soft beginning of an [f] or an [h].

What is left out depends on the samples alone: not on how they are cut into chunks, nor on the
clock. Silence is held back until the onset is known, so no sample that left is ever taken back.
"""

from __future__ import annotations

import numpy as np

from engine.types import MAX_LEADING_SILENCE_MS, FloatArray, StreamMode, SynthesisParams

DEFAULT_MS = 60
THRESHOLD_DB = -55.0  # rms of a window, full scale = 0 dB
_WINDOWS_PER_S = 100


def kept_ms(params: SynthesisParams) -> int:
    """Return how much leading silence a sentence may keep; the maximum leaves it as it is."""
    if params.leading_silence_ms is not None:
        return params.leading_silence_ms
    return MAX_LEADING_SILENCE_MS if params.mode is StreamMode.EXACT else DEFAULT_MS


class LeadingSilence:
    """Watches one sentence's samples until its speech begins.

    Attributes:
        num_trimmed: Samples left out so far; final once `has_begun`.
        has_begun: The onset is known, and everything passes unchanged from here on.
    """

    def __init__(self, sample_rate_hz: int, keep_ms: int) -> None:
        """Wait for the onset.

        Args:
            keep_ms: Silence to keep before it. After MAX_LEADING_SILENCE_MS without an onset the
                rest passes: a listener is not kept waiting for ever, nor a whisper swallowed.
        """
        self._window = sample_rate_hz // _WINDOWS_PER_S
        self._keep = keep_ms * sample_rate_hz // 1000
        self._limit = MAX_LEADING_SILENCE_MS * sample_rate_hz // 1000
        self._held: FloatArray = np.zeros(0, np.float32)
        self._num_scanned = 0  # samples of the sentence found silent, whole windows
        self.num_trimmed = 0
        self.has_begun = keep_ms >= MAX_LEADING_SILENCE_MS

    def push(self, samples: FloatArray, *, final: bool) -> FloatArray:
        """Return what leaves of the sentence's next samples, float32; empty before the onset.

        Args:
            final: They are the sentence's last; what is held leaves with them.
        """
        if self.has_begun:
            return samples
        held = np.concatenate([self._held, samples])
        onset = self._onset(held)
        if onset is None and final:
            onset = self.num_trimmed + len(held)
        if onset is not None:
            self.has_begun = True
        # Before the onset only what may have to be kept stays.
        begin = (self._num_scanned if onset is None else onset) - self._keep
        dropped = max(0, begin - self.num_trimmed)
        self.num_trimmed += dropped
        self._held = held[dropped:]
        if not self.has_begun:
            return self._held[:0]
        held, self._held = self._held, self._held[:0]
        return held

    def _onset(self, held: FloatArray) -> int | None:
        """Return the sample of the sentence where speech, or the limit, begins."""
        first = self._num_scanned - self.num_trimmed  # of `held`, not looked at yet
        count = (len(held) - first) // self._window
        windows = held[first : first + count * self._window].reshape(count, self._window)
        power = np.square(windows, dtype=np.float64).mean(axis=1)
        loud = np.flatnonzero(power > 10 ** (THRESHOLD_DB / 10))
        silent = int(loud[0]) if len(loud) else count
        end = self._num_scanned + silent * self._window
        self._num_scanned = min(end, self._limit)
        return self._num_scanned if len(loud) or end >= self._limit else None
