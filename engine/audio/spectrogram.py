"""The linear spectrogram that references are read through, without torch."""

from __future__ import annotations

import numpy as np

from engine.errors import InvalidParameter
from engine.types import FloatArray

POWER_FLOOR = 1e-8  # under the root, upstream mel_processing.py:71 @48b1a01


def linear_spectrogram(samples: FloatArray, *, n_fft: int, hop: int) -> FloatArray:
    """Return magnitudes of overlapping Hann windows, float32 [n_fft/2 + 1, N // hop].

    The wave is mirrored by (n_fft - hop) / 2 samples at both ends, so frame f is centred on
    samples f * hop .. (f + 1) * hop.

    Args:
        samples: float32 [N], mono, at the model's rate.

    Raises:
        InvalidParameter: If there are fewer samples than one mirror needs.
    """
    padding = (n_fft - hop) // 2
    if samples.ndim != 1 or len(samples) <= max(padding, hop):
        raise InvalidParameter(
            "samples", list(samples.shape), f"one axis of more than {max(padding, hop)} samples"
        )
    mirrored = np.pad(samples.astype(np.float64), padding, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, n_fft)[::hop]
    spectrum = np.fft.rfft(frames * _hann(n_fft), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.sqrt(power + POWER_FLOOR).T.astype(np.float32)


def _hann(length: int) -> FloatArray:
    """The periodic window: its period is `length`, so overlaps sum to a constant."""
    window: FloatArray = 0.5 - 0.5 * np.cos(2 * np.pi / length * np.arange(length))
    return window
