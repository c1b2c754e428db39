"""Kaldi's log-mel filter bank, the input of the ERes2NetV2 speaker network.

Per frame: remove the mean, pre-emphasise, Povey window, power spectrum, triangular filters on the
mel scale, logarithm. No dither and no mean over time is taken out. The defaults of Kaldi's `fbank`
otherwise (compute-fbank-feats); upstream calls it with 80 filters and dither 0 (sv.py @48b1a01).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParameter
from engine.types import FloatArray

SAMPLE_RATE_HZ = 16000
_FRAME = 400  # 25 ms
_SHIFT = 160  # 10 ms
_FFT_SIZE = 512  # the next power of two
_PREEMPHASIS = 0.97
_POVEY_POWER = 0.85
_LOWEST_HZ = 20.0
_FLOOR = np.finfo(np.float32).eps


def kaldi_fbank(samples: FloatArray, *, num_filters: int = 80) -> FloatArray:
    """Return log energies, float32 [frames, num_filters], frames = 1 + (N - 400) // 160.

    Args:
        samples: float32 [N], mono, 16 kHz, in [-1, 1].

    Raises:
        InvalidParameter: If the wave is shorter than a frame (25 ms).
    """
    if samples.ndim != 1 or len(samples) < _FRAME:
        raise InvalidParameter("samples", list(samples.shape), f"one axis of >= {_FRAME} samples")
    windows = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_SHIFT]
    frames = windows - windows.mean(axis=1, keepdims=True, dtype=np.float64)
    # A frame's first sample has no predecessor, and the window is zero there.
    frames[:, 1:] -= _PREEMPHASIS * frames[:, :-1]
    power = np.abs(np.fft.rfft(frames * _povey_window(), _FFT_SIZE, axis=1)) ** 2
    energies = power @ _mel_filters(num_filters).T
    return np.log(np.maximum(energies, _FLOOR)).astype(np.float32)


@lru_cache
def _povey_window() -> NDArray[np.float64]:
    window: NDArray[np.float64] = np.hanning(_FRAME) ** _POVEY_POWER
    return window


@lru_cache
def _mel_filters(num_filters: int) -> NDArray[np.float64]:
    """Return triangles, linear on the mel scale, float64 [num_filters, bins]."""
    limits = _mel(np.array([_LOWEST_HZ, SAMPLE_RATE_HZ / 2]))
    edges = np.linspace(limits[0], limits[1], num_filters + 2)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = _mel(np.fft.rfftfreq(_FFT_SIZE, 1 / SAMPLE_RATE_HZ))
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


def _mel(hz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
