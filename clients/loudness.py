"""How loud speech is, as broadcasters measure it, and how to set it.

Source: ITU-R BS.1770-4 (K-weighting, gating); the filters are given there at 48 kHz.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

RATE_HZ = 48000
SILENT_LUFS = -70.0  # the absolute gate; nothing louder was found
PEAK_DBFS = -1.0  # EBU R 128: room for what a lossy codec adds
_BLOCK = RATE_HZ * 4 // 10
_HOP = RATE_HZ // 10
_OFFSET_LU = -0.691
_RELATIVE_GATE_LU = -10.0
# BS.1770-4 tables 1 and 2: numerators and denominators of the two biquads.
_SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
_TAIL = RATE_HZ // 4  # of zeros, so that what the filters ring on does not come round to the start


def loudness_lufs(samples: FloatArray) -> float:
    """Return the integrated loudness of 48 kHz samples [N] in LUFS; -70 for silence.

    What is shorter than a block of 400 ms is measured as one block.
    """
    power = _block_powers(_weighted(samples))
    loud = power[_lufs(power) > SILENT_LUFS]
    if not len(loud):
        return SILENT_LUFS
    gate = float(_lufs(loud.mean())) + _RELATIVE_GATE_LU
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def set_loudness(samples: FloatArray, target_lufs: float) -> FloatArray:
    """Return the samples at a loudness, quieter where their peak would pass -1 dBFS."""
    measured = loudness_lufs(samples)
    peak = float(np.abs(samples).max(initial=0.0))
    if measured <= SILENT_LUFS or peak == 0.0:
        return samples
    gain = min(10 ** ((target_lufs - measured) / 20), 10 ** (PEAK_DBFS / 20) / peak)
    return (samples * gain).astype(np.float32)


def _weighted(samples: FloatArray) -> NDArray[np.float64]:
    """Return the K-weighted samples; the filters are applied to the spectrum."""
    size = 1 << (len(samples) + _TAIL - 1).bit_length()  # other sizes can take seconds
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones_like(z)
    for above, below in (_SHELF, _HIGH_PASS):
        response *= np.polyval(above[::-1], z) / np.polyval(below[::-1], z)
    spectrum = np.fft.rfft(samples.astype(np.float64), size)
    weighted: NDArray[np.float64] = np.fft.irfft(spectrum * response, size)[: len(samples)]
    return weighted


def _block_powers(weighted: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(weighted) < _BLOCK:
        return np.array([np.mean(weighted**2) if len(weighted) else 0.0])
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(weighted) - _BLOCK + 1, _HOP)
    powers: NDArray[np.float64] = np.maximum(0.0, (sums[starts + _BLOCK] - sums[starts]) / _BLOCK)
    return powers


def _lufs(power: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    return np.asarray(_OFFSET_LU + 10 * np.log10(np.maximum(power, 1e-12)))
