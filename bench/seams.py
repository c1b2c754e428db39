"""How far a streamed sentence is from the offline one, and whether its joins can be heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.types import FloatArray

_N_FFT, _HOP = 1024, 256
_FLOOR_DB = -100.0


def snr_db(reference: FloatArray, other: FloatArray) -> float:
    """Return the power of `reference` over that of the difference, in dB; same lengths."""
    noise = float(np.sum((reference.astype(np.float64) - other) ** 2))
    signal = float(np.sum(reference.astype(np.float64) ** 2))
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))


def log_spectral_distance(reference: FloatArray, other: FloatArray) -> float:
    """Return the mean over frames of the rms difference of log spectra, in dB."""
    a, b = _log_spectra(reference), _log_spectra(other)
    return float(np.sqrt(((a - b) ** 2).mean(axis=1)).mean())


def _log_spectra(samples: FloatArray) -> np.ndarray:
    padded = np.pad(samples, (0, _N_FFT))
    starts = np.arange(0, len(samples), _HOP)
    frames = padded[starts[:, None] + np.arange(_N_FFT)] * np.hanning(_N_FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    decibels: np.ndarray = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return decibels


def seam_score(samples: FloatArray, joins: Sequence[int], *, seed: int = 0) -> float:
    """Return the jump at the joins against that at other places of the same audio; 1 = no seam.

    The jump is the second difference, the part of a step that a smooth waveform does not have. It
    is set against the local level, so that joins in loud places are not taken for seams.

    Args:
        samples: float32 [N].
        joins: Index of the first sample of each chunk but the first.
    """
    bend = np.abs(np.diff(samples.astype(np.float64), 2))
    window = np.ones(2001) / 2001
    level = np.sqrt(np.convolve(bend**2, window, mode="same")) + 1e-9
    relative = (bend / level) ** 2
    places = [at - 1 + shift for at in joins for shift in (-1, 0) if 2 <= at < len(samples) - 2]
    if not places:
        return 1.0
    rng = np.random.default_rng(seed)
    random = relative[rng.integers(2, len(relative) - 2, 20000)]
    return float(relative[places].mean() / random.mean())
