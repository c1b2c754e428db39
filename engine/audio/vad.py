"""Where in a recording somebody speaks: frame energy against a noise floor found in the recording.

Made for enrolment, where the whole recording is at hand and one person speaks near a microphone;
it needs no network and no training data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.types import FloatArray

FRAME_S = 0.01
_WINDOW_S = 0.03
_FLOOR_DB = -100.0  # digital silence
_ABOVE_NOISE_DB = 9.0
_BELOW_SPEECH_DB = (40.0, 18.0)  # the threshold lies this far below the speech level, at most/least
_HYSTERESIS_DB = 3.0
_MIN_SPEECH_S = 0.06
_HANGOVER_S = 0.15  # stops and weak consonants within a word


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, in samples."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class SpeechMap:
    """What `find_speech` found.

    Levels are the mean power of the frames inside and outside speech in dB full scale; with no
    frame outside speech the noise level is that of the quietest fiftieth of the frames.
    """

    segments: tuple[Segment, ...]
    speech_db: float
    noise_db: float

    @property
    def speech_samples(self) -> int:
        """Samples inside speech."""
        return sum(map(len, self.segments))


def frame_levels(samples: FloatArray, sample_rate_hz: int) -> NDArray[np.float64]:
    """Return the power of each 10 ms frame in dB full scale, over a 30 ms window around it."""
    hop = max(1, round(FRAME_S * sample_rate_hz))
    half = round(_WINDOW_S * sample_rate_hz) // 2
    sums = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    centres = np.arange(hop // 2, len(samples), hop)
    low, high = np.maximum(centres - half, 0), np.minimum(centres + half, len(samples))
    power = (sums[high] - sums[low]) / np.maximum(high - low, 1)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return levels


def find_speech(samples: FloatArray, sample_rate_hz: int) -> SpeechMap:
    """Find stretches of speech in a mono wave, float32 [N]."""
    levels = frame_levels(samples, sample_rate_hz)
    if not len(levels):
        return SpeechMap((), _FLOOR_DB, _FLOOR_DB)
    threshold = _threshold(levels)
    active = _with_hysteresis(levels, threshold)
    active = _fill_gaps(active, round(_HANGOVER_S / FRAME_S))
    runs = [run for run in _runs(active) if run[1] - run[0] >= round(_MIN_SPEECH_S / FRAME_S)]
    hop = max(1, round(FRAME_S * sample_rate_hz))
    segments = tuple(Segment(a * hop, min(b * hop, len(samples))) for a, b in runs)
    inside = np.zeros(len(levels), bool)
    for a, b in runs:
        inside[a:b] = True
    return SpeechMap(segments, _mean_db(levels[inside]), _noise_db(levels, inside))


def _threshold(levels: NDArray[np.float64]) -> float:
    noise = float(np.percentile(levels, 10))
    speech = float(np.percentile(levels, 95))
    farthest, nearest = _BELOW_SPEECH_DB
    return float(np.clip(noise + _ABOVE_NOISE_DB, speech - farthest, speech - nearest))


def _with_hysteresis(levels: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Keep runs above the threshold that rise clearly above it somewhere."""
    active = levels > max(threshold, _FLOOR_DB + 1)
    for a, b in _runs(active):
        if levels[a:b].max() < threshold + _HYSTERESIS_DB:
            active[a:b] = False
    return active


def _fill_gaps(active: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    filled = active.copy()
    for a, b in _runs(~active):
        if 0 < a and b < len(active) and b - a <= longest:
            filled[a:b] = True
    return filled


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [start, end) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _mean_db(levels: NDArray[np.float64]) -> float:
    if not len(levels):
        return _FLOOR_DB
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def _noise_db(
    levels: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> float:
    outside = levels[~inside]
    if len(outside) < 10:  # edges of words leak into so few frames
        outside = np.sort(levels)[: max(1, len(levels) // 50)]
    return _mean_db(outside)
