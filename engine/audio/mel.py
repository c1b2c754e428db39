"""Mel spectrograms of the Whisper encoder and of the GE2E speaker encoder, in numpy.

Both use 25 ms periodic Hann windows every 10 ms at 16 kHz and Slaney's filter bank (linear to
1 kHz, logarithmic above, each triangle of unit area).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParameter
from engine.types import FloatArray

SAMPLE_RATE_HZ = 16000
HOP = 160
WINDOW = 400
_SLANEY_HZ_PER_MEL = 200.0 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def whisper_mel(samples: FloatArray, *, num_filters: int = 80) -> FloatArray:
    """Return Whisper's log-mel input, float32 [num_filters, N // 160].

    log10 power, at most 8 (80 dB) below the wave's maximum, mapped to about [-1, 1]. The wave is
    not padded to 30 s.

    Args:
        samples: float32 [N], mono, 16 kHz, in [-1, 1].

    Raises:
        InvalidParameter: If the wave is too short to be mirrored at its ends.
    """
    power = _mel_power(samples, num_filters, "reflect")[:-1]
    levels = np.log10(np.maximum(power, 1e-10))
    levels = np.maximum(levels, levels.max(initial=-np.inf) - 8.0)
    return np.ascontiguousarray(((levels + 4.0) / 4.0).T, dtype=np.float32)


def ge2e_mel(samples: FloatArray, *, num_filters: int = 40) -> FloatArray:
    """Return the mel power (no logarithm) of a wave, float32 [1 + N // 160, num_filters].

    Args:
        samples: float32 [N], mono, 16 kHz, in [-1, 1].
    """
    return _mel_power(samples, num_filters, "constant").astype(np.float32)


def _mel_power(
    samples: FloatArray, num_filters: int, padding: Literal["reflect", "constant"]
) -> NDArray[np.float64]:
    """Return [1 + N // 160, num_filters]; frame f is centred on sample 160 f."""
    if samples.ndim != 1 or len(samples) <= WINDOW // 2:
        raise InvalidParameter(
            "samples", list(samples.shape), f"one axis of > {WINDOW // 2} samples"
        )
    padded = np.pad(samples.astype(np.float64), WINDOW // 2, mode=padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    result: NDArray[np.float64] = power @ slaney_filters(num_filters).T
    return result


@lru_cache
def slaney_filters(num_filters: int) -> NDArray[np.float64]:
    """Return triangles of unit area, linear in Hz, float64 [num_filters, bins]."""
    top = _slaney_mel(SAMPLE_RATE_HZ / 2)
    edges = _slaney_hz(np.linspace(0.0, top, num_filters + 2))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(WINDOW // 2 + 1)[None] * (SAMPLE_RATE_HZ / WINDOW)
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    scaled: NDArray[np.float64] = triangles * (2.0 / (right - left))
    return scaled


def _slaney_mel(hz: float) -> float:
    if hz < _SLANEY_BREAK_HZ:
        return hz / _SLANEY_HZ_PER_MEL
    linear = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
    return float(linear + np.log(hz / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
    above = _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * (mel - linear))
    hz: NDArray[np.float64] = np.where(mel < linear, mel * _SLANEY_HZ_PER_MEL, above)
    return hz
