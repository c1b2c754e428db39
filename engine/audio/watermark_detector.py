"""Finds the mark of a key in a recording, and says how sure that is.

    recording, 16 kHz ── each cell of a spectrogram over its power ── expected gain of the mark
        ── folded to one second, for clocks up to 100 ppm apart ── correlated with the carrier at
        all offsets ──> highest peak

The first step makes the speech, which is 29 dB louder, as good as white and gives most weight to
what lies between its harmonics; the second follows from the recording what the embedder did. Both
know nothing of the key.

That is what makes the probability of a false alarm known for *every* recording, not just for those
that were tried. With |Y_k| the folded spectrum at k Hz, the correlation at an offset is the sum of
|Y_k| cos(phase_k + a_k); for a key that has nothing to do with the recording the phases are uniform
and independent. As E exp(s cos phase) = I0(s) <= exp(s^2 / 4), it exceeds t standard deviations
with a probability below exp(-t^2 / 2) (Chernoff), and the largest of M correlations with one below
M exp(-t^2 / 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.resample import resample
from engine.audio.watermark import (
    HIGH_HZ,
    HOP_S,
    LOW_HZ,
    NUM_PHASES,
    BandMeter,
    band_weights,
    top_hz,
)
from engine.audio.watermark_key import WatermarkKey
from engine.types import FloatArray

_Doubles: TypeAlias = NDArray[np.float64]
_Cells: TypeAlias = NDArray[np.complexfloating]

FALSE_ALARM = 1e-6  # of a whole recording
_RATE_HZ = 16000
_OFFSETS = 2 * _RATE_HZ  # in a second: at one a sample, 7 kHz would lose a third between two
_SIGNS = 2  # a recording may be upside down
_PIECE_S = 60  # handled at once; a longer recording is as sure of one as of all
_CLOCK_DRIFT = 100e-6  # crystals of what plays and of what records may be so far apart
_SHORTEST_S = 8  # part of a recording that is looked at by itself
# Sizes and factors from here on were chosen by the peaks of 5 s of nano's speech after Opus, G.711,
# MP3 and noise: one step to either side of each is worth less than a tenth of them.
_WHITEN_SAMPLES, _WHITEN_HOP = 768, 96
_WHITEN_FLOOR = 0.15  # of a band's power, added to a cell's: none outweighs all others
_GAIN_SAMPLES, _GAIN_HOP = 256, 64
_QUIET_PERCENTILE, _QUIET_FACTOR = 10, 3.0  # of a band's powers: what is noise, not speech
_LOUD_PERCENTILE, _LOUD_FACTOR, _SILENT_FACTOR = 95, 1e-4, 1e-6  # of a band's powers: speech
_ABSENT_FACTOR = 1e-8  # of the loudest band
_TINY = 1e-20  # below any 16-bit recording


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found.

    Attributes:
        is_marked: True if the score reaches the threshold.
        score: The highest peak, in standard deviations of what recordings without this key's mark
            give.
        threshold: What it exceeds without a mark with a probability below `false_alarm`.
        start_s, end_s: The part of the recording it was found in.
    """

    is_marked: bool
    score: float
    threshold: float
    false_alarm: float
    start_s: float
    end_s: float


def detect(
    samples: FloatArray, rate_hz: int, key: WatermarkKey, *, false_alarm: float = FALSE_ALARM
) -> Detection:
    """Look for the mark of a key.

    Args:
        samples: float32 [N], mono, at least 8 kHz.
        false_alarm: Probability of an alarm for a recording without the mark, in (0, 1).

    Raises:
        InvalidParameter: On a sample rate out of range.
    """
    return detect_each(samples, rate_hz, [key], false_alarm=false_alarm)[0]


def detect_each(
    samples: FloatArray,
    rate_hz: int,
    keys: Sequence[WatermarkKey],
    *,
    false_alarm: float = FALSE_ALARM,
) -> list[Detection]:
    """Look for the marks of several keys; most of the work is done once.

    Args:
        false_alarm: For each key.

    Raises:
        InvalidParameter: On a sample rate out of range.
    """
    wave = resample(samples, rate_hz, _RATE_HZ)
    hz = np.arange(LOW_HZ, top_hz(min(rate_hz, _RATE_HZ)) + 1)
    peaks = [_Peak(np.exp(-1j * key.phases(NUM_PHASES)[hz])) for key in keys]
    num_looks = 0
    for first in _starts(math.ceil(len(wave) / _RATE_HZ), _PIECE_S):
        piece = wave[first * _RATE_HZ : (first + _PIECE_S) * _RATE_HZ]
        seconds = np.fft.rfft(_by_second(_match(piece, int(hz[-1]))), axis=1)[:, hz]
        for start, end in _parts(len(seconds)):
            for drift in _drifts(end - start):
                num_looks += 1
                spectrum = _folded(seconds[start:end], hz, drift)
                for peak in peaks:
                    peak.look(spectrum, hz, first + start, first + end)
    num_tests = max(1, num_looks) * _OFFSETS * _SIGNS
    threshold = math.sqrt(2 * math.log(num_tests / false_alarm))
    duration_s = len(wave) / _RATE_HZ
    return [
        Detection(
            is_marked=peak.score >= threshold,
            score=peak.score,
            threshold=threshold,
            false_alarm=false_alarm,
            start_s=float(peak.start_s),
            end_s=min(float(peak.end_s), duration_s),
        )
        for peak in peaks
    ]


class _Peak:
    """The highest correlation with one carrier so far, and the part it was found in."""

    def __init__(self, waves: _Cells) -> None:
        """Take the carrier's conjugate, a number of size 1 for each frequency."""
        self._waves = waves
        self.score = 0.0
        self.start_s, self.end_s = 0, 0

    def look(self, spectrum: _Cells, hz: NDArray[np.int64], start_s: int, end_s: int) -> None:
        """Correlate the folded spectrum of a part, at these frequencies, at all offsets."""
        deviation = math.sqrt(float(np.sum(np.abs(spectrum) ** 2)) / 2)
        if deviation < _TINY:
            return
        crossed = np.zeros(_OFFSETS // 2 + 1, np.complex128)
        crossed[hz] = spectrum * self._waves
        correlations = np.fft.irfft(crossed, _OFFSETS) * (_OFFSETS / 2)
        score = float(np.abs(correlations).max()) / deviation
        if score > self.score:
            self.score, self.start_s, self.end_s = score, start_s, end_s


def _starts(length: int, size: int) -> list[int]:
    """Return where parts of `size` begin that overlap by half or more and cover `length`."""
    if length <= size:
        return [0] if length else []
    return [*range(0, length - size, size // 2), length - size]


def _parts(num_seconds: int) -> Iterator[tuple[int, int]]:
    """Yield all of a piece, then parts of half its length, a quarter ...

    A sentence of its own among others that are not marked, or are marked with another offset, is
    found in a part that has little else.
    """
    if num_seconds:
        yield 0, num_seconds
    size = _SHORTEST_S
    while size < num_seconds:
        for start in _starts(num_seconds, size):
            yield start, start + size
        size *= 2


def _drifts(num_seconds: int) -> Iterator[float]:
    """Yield the differences of clocks to try, seconds a second.

    They are as dense as it takes for the highest frequency to be a quarter of a turn off at most,
    in the first and the last second.
    """
    step = 1 / (HIGH_HZ * num_seconds)
    most = int(_CLOCK_DRIFT / step)
    yield from (step * number for number in range(-most, most + 1))


def _folded(seconds: _Cells, hz: NDArray[np.int64], drift: float) -> _Cells:
    """Return the sum of the spectra [seconds, frequencies], each turned back by its drift."""
    turn = np.exp(2j * np.pi * drift * hz)
    total: _Cells = seconds[-1]
    for spectrum in seconds[-2::-1]:
        total = total * turn + spectrum
    return total


def _by_second(wave: FloatArray) -> _Doubles:
    """Return float64 [seconds, _RATE_HZ], the last one filled up with silence."""
    padded = np.pad(wave, (0, -len(wave) % _RATE_HZ)).astype(np.float64)
    return padded.reshape(-1, _RATE_HZ)


def _match(wave: FloatArray, highest_hz: int) -> FloatArray:
    """Return float32 [N], a wave to correlate with the carrier of any key."""
    margin = max(_WHITEN_SAMPLES, _GAIN_SAMPLES)
    padded = np.pad(wave, (margin, margin))
    cells = _cells(padded, _WHITEN_SAMPLES, _WHITEN_HOP)
    white = _wave(cells * _whitening(cells, highest_hz), _WHITEN_HOP, len(padded))
    cells = _cells(white, _GAIN_SAMPLES, _GAIN_HOP)
    gains = _expected_gains(padded, len(cells))
    matched = _wave(cells * (gains @ band_weights(_cell_hz(cells))), _GAIN_HOP, len(padded))
    return matched[margin : margin + len(wave)]


def _cells(wave: FloatArray, size: int, hop: int) -> _Cells:
    """Return the spectrogram complex [T, size / 2 + 1] of a wave, float [N], N >= size."""
    frames = sliding_window_view(wave, size)[::hop]
    return np.fft.rfft(frames * _window(size), axis=1)


def _wave(cells: _Cells, hop: int, length: int) -> FloatArray:
    """Return float32 [length], the overlapping frames of a spectrogram added up."""
    size = 2 * (cells.shape[1] - 1)
    frames = np.fft.irfft(cells, size, axis=1) * _window(size)
    wave = np.zeros(length, np.float32)
    stride = size // hop  # frames that far apart do not overlap
    for first in range(min(stride, len(frames))):
        apart = frames[first::stride].reshape(-1)
        wave[first * hop : first * hop + len(apart)] += apart
    return wave


def _window(size: int) -> FloatArray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _cell_hz(cells: _Cells) -> FloatArray:
    """Return the frequencies of a spectrogram's columns."""
    return np.linspace(0, _RATE_HZ / 2, cells.shape[1], dtype=np.float32)


def _whitening(cells: _Cells, highest_hz: int) -> FloatArray:
    """Return float32 [T, F]: one over each cell's power, 0 outside the marked band."""
    power = cells.real**2 + cells.imag**2
    hz = _cell_hz(cells)
    weights = band_weights(hz)
    per_band = weights / weights.sum(axis=1, keepdims=True)
    bands = power @ per_band.T
    # There is next to nothing between sentences, and in the bands that a codec left out: one over
    # that would be all that counts.
    loud = np.percentile(bands, _LOUD_PERCENTILE, axis=0)
    silent = _SILENT_FACTOR * loud + _ABSENT_FACTOR * loud.max()
    around = (_WHITEN_FLOOR * bands + silent.astype(np.float32)) @ weights
    inside = (hz >= LOW_HZ) & (hz <= highest_hz)
    return np.asarray(inside / (power + around + _TINY), np.float32)


def _expected_gains(wave: FloatArray, num_frames: int) -> FloatArray:
    """Return float32 [num_frames, NUM_BANDS]: how strong the mark would be in each frame.

    Where a recording has noise of its own, its quiet moments tell how much, and only what exceeds
    that was speech when the mark was made.
    """
    meter = BandMeter(_RATE_HZ)
    # A frame's mark is of the speech that ended a hop before the frame's middle, on average.
    behind = meter.num_samples + round(_RATE_HZ * HOP_S) - _GAIN_SAMPLES // 2
    lagging = np.pad(wave, (behind, 0)).astype(np.float32)
    frames = sliding_window_view(lagging, meter.num_samples)[::_GAIN_HOP]
    powers = meter.powers(frames[:num_frames]).astype(np.float64)
    quiet = np.percentile(powers, _QUIET_PERCENTILE, axis=0)
    loud = np.percentile(powers, _LOUD_PERCENTILE, axis=0)
    speech = np.maximum(powers - _QUIET_FACTOR * quiet, 0.0)
    gains = np.sqrt(speech * speech / (speech + _LOUD_FACTOR * loud + _TINY))
    return gains.astype(np.float32)
