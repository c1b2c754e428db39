"""Change of sample rate, whole or streamed; both give the same samples to the bit.

Opus knows no 32 kHz, so every stream passes here. The soxr "HQ" filter is linear-phase and its
delay is compensated; fed in 20 ms pieces it withholds up to 18 ms of a 32 -> 48 kHz stream, 39 ms
to 24 kHz, 58 ms to 16 kHz and 115 ms to 8 kHz (measured with soxr 1.1) until more input or the end.
"""

from __future__ import annotations

import numpy as np
import soxr

from engine.errors import InvalidParameter
from engine.types import FloatArray

_QUALITY = "HQ"
_LOWEST_HZ = 4000
_HIGHEST_HZ = 384_000


def _check_rate(name: str, rate_hz: int) -> None:
    if not isinstance(rate_hz, int) or not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
        raise InvalidParameter(name, rate_hz, f"a sample rate from {_LOWEST_HZ} to {_HIGHEST_HZ}")


def resampled_length(num_samples: int, in_hz: int, out_hz: int) -> int:
    """Return round(num_samples * out_hz / in_hz), halves up, in exact arithmetic."""
    return (2 * num_samples * out_hz + in_hz) // (2 * in_hz)


def resample(samples: FloatArray, in_hz: int, out_hz: int) -> FloatArray:
    """Return float32 [resampled_length(N)] of a mono wave float32 [N].

    Raises:
        InvalidParameter: On a rate out of range.
    """
    return StreamResampler(in_hz, out_hz).process(samples, final=True)


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
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._stream = (
            None
            if self.in_hz == self.out_hz
            else soxr.ResampleStream(self.in_hz, self.out_hz, 1, dtype="float32", quality=_QUALITY)
        )
        self._taken = 0
        self._given = 0

    def process(self, samples: FloatArray, *, final: bool = False) -> FloatArray:
        """Take a piece, float32 [N], and return what is ready; `final` returns all the rest.

        After a final piece the resampler is ready for a new stream.
        """
        assert samples.dtype == np.float32 and samples.ndim == 1
        self._taken += len(samples)
        if self._stream is None:
            ready: FloatArray = samples
        elif not self._taken:
            ready = samples[:0]  # soxr cannot flush a stream that never began
        else:
            ready = self._stream.resample_chunk(samples, last=final)
        if not final:
            self._given += len(ready)
            return ready
        missing = resampled_length(self._taken, self.in_hz, self.out_hz) - self._given
        self.reset()
        if missing <= len(ready):
            return ready[:missing]
        return np.concatenate([ready, np.zeros(missing - len(ready), np.float32)])
