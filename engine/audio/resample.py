"""Change of sample rate: whole recordings by soxr, streams by a short filter of our own.

Opus knows no 32 kHz, so every stream passes here. A general resampler trades delay for a steep
filter: soxr "HQ", fed in 20 ms pieces, withholds 39 ms of a 32 -> 24 kHz stream and 115 ms to 8 kHz
(measured with soxr 1.1), and every first packet would wait for it. The filter here needs 1.3 ms and
4 ms: a windowed sinc with 90 dB of stop band that gives up the last tenth below Nyquist, where
speech has nothing. Its delay is compensated, and each output sample is one dot product of its own,
so the samples do not depend on how a stream is cut.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from engine.errors import InvalidParameter
from engine.types import FloatArray

_QUALITY = "HQ"  # of soxr
_LOWEST_HZ = 4000
_HIGHEST_HZ = 384_000
_HALF_TAPS = 32  # each side, in samples of the lower rate
_ATTENUATION_DB = 90.0
_MANY_PHASES = 16  # of 44.1 kHz: a call for each costs more than gathering what they need
_BETA = 0.1102 * (_ATTENUATION_DB - 8.7)  # Kaiser's design formula


def _check_rate(name: str, rate_hz: int) -> None:
    if not isinstance(rate_hz, int) or not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
        raise InvalidParameter(name, rate_hz, f"a sample rate from {_LOWEST_HZ} to {_HIGHEST_HZ}")


def resampled_length(num_samples: int, in_hz: int, out_hz: int) -> int:
    """Return round(num_samples * out_hz / in_hz), halves up, in exact arithmetic."""
    return (2 * num_samples * out_hz + in_hz) // (2 * in_hz)


def resample(samples: FloatArray, in_hz: int, out_hz: int) -> FloatArray:
    """Return float32 [resampled_length(N)] of a whole mono wave float32 [N].

    Raises:
        InvalidParameter: On a rate out of range.
    """
    _check_rate("in_hz", in_hz)
    _check_rate("out_hz", out_hz)
    if in_hz == out_hz or not len(samples):
        return samples
    length = resampled_length(len(samples), in_hz, out_hz)
    made: FloatArray = soxr.resample(samples, in_hz, out_hz, quality=_QUALITY)
    padded: FloatArray = np.pad(made[:length], (0, max(0, length - len(made))))
    return padded


@lru_cache(maxsize=32)
def _filters(up: int, down: int) -> FloatArray:
    """Return one filter per phase, float32 [up, 2 * half], taps in order of input samples.

    Phase p is for output samples p / up input samples after an input sample; the filter's first
    tap lies half - 1 samples before that input sample.
    """
    ratio = min(1.0, up / down)
    half = math.ceil(_HALF_TAPS / ratio)
    transition = (_ATTENUATION_DB - 8) / (14.36 * 2 * half)  # cycles per input sample
    cutoff = 0.5 * ratio - 0.4 * transition
    distance = np.arange(1 - half, half + 1)[None] - np.arange(up)[:, None] / up
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(_BETA)
    taps = 2 * cutoff * np.sinc(2 * cutoff * distance) * window
    filters: FloatArray = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters


class StreamResampler:
    """Resamples a mono stream given in pieces of any size.

    The output does not depend on how the input is cut, and its total length is exactly
    `resampled_length` of the input's.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        _check_rate("in_hz", in_hz)
        _check_rate("out_hz", out_hz)
        self.in_hz = in_hz
        self.out_hz = out_hz
        divisor = math.gcd(in_hz, out_hz)
        self._up, self._down = out_hz // divisor, in_hz // divisor
        self._filters = _filters(self._up, self._down)
        self._half = self._filters.shape[1] // 2
        self.reset()

    @property
    def delay_s(self) -> float:
        """Seconds of input that must follow an output sample before it is ready."""
        return 0.0 if self.in_hz == self.out_hz else self._half / self.in_hz

    def reset(self) -> None:
        """Start a new stream."""
        self._taken = 0
        self._given = 0
        # Input from sample number `_first` on; what lies before the stream is silence.
        self._buffer: FloatArray = np.zeros(self._half - 1, np.float32)
        self._first = 1 - self._half

    def process(self, samples: FloatArray, *, final: bool = False) -> FloatArray:
        """Take a piece, float32 [N], and return what is ready; `final` returns all the rest.

        After a final piece the resampler is ready for a new stream.
        """
        assert samples.dtype == np.float32 and samples.ndim == 1
        if self.in_hz == self.out_hz:
            return samples
        self._taken += len(samples)
        self._buffer = np.concatenate([self._buffer, samples])
        if final:
            self._buffer = np.concatenate([self._buffer, np.zeros(self._half + 1, np.float32)])
            end = resampled_length(self._taken, self.in_hz, self.out_hz)
        else:
            # Output m needs input up to floor(m * down / up) + half.
            last = self._taken - 1 - self._half
            end = max(self._given, (last * self._up + self._up - 1) // self._down + 1)
        ready = self._make(self._given, end)
        self._given = end
        if final:
            self.reset()
        else:
            keep = end * self._down // self._up - self._half + 1
            self._buffer = self._buffer[max(0, keep - self._first) :]
            self._first = max(self._first, keep)
        return ready

    def _make(self, first: int, end: int) -> FloatArray:
        """Return the output samples of these numbers.

        Those of one phase lie `_down` input samples apart, so their windows are a view: nothing is
        gathered, which for 32 -> 8 kHz would be 256 times the audio.
        """
        made = np.empty(end - first, np.float32)
        if not len(made):
            return made
        windows = sliding_window_view(self._buffer, 2 * self._half)
        if self._up > _MANY_PHASES:
            origins, phases = np.divmod(np.arange(first, end) * self._down, self._up)
            starts = origins - self._half + 1 - self._first
            return np.einsum("nk,nk->n", windows[starts], self._filters[phases], out=made)
        for number in range(first, min(end, first + self._up)):
            at, phase = divmod(number * self._down, self._up)
            rows = windows[at - self._half + 1 - self._first :: self._down]
            place = made[number - first :: self._up]
            np.einsum("nk,k->n", rows[: len(place)], self._filters[phase], out=place)
        return made
