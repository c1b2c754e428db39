"""Integrated loudness after ITU-R BS.1770-4, and the gain that brings a voice to ours.

Source: ITU-R BS.1770-4 annex 1 and 2 (K weighting, 400 ms blocks with 75 % overlap, gates at
-70 LUFS and 10 LU below the mean). The filter constants are the standard's filter expressed as
analogue prototypes, so that they hold at every sample rate; at 48 kHz they give its tables.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.types import FloatArray

# -19 LUFS in mono is as loud as -16 LUFS in stereo, what speech platforms ask for (AES TD1008).
TARGET_LUFS = -19.0
MAX_GAIN_DB = 15.0  # beyond that the noise of a reference comes up with its voice
_BLOCK_S = 0.4
_STEP_S = 0.1
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_OFFSET = -0.691
_TAIL_S = 0.5  # the high-pass falls below 1e-12 within it


def integrated_loudness(samples: FloatArray, sample_rate_hz: int) -> float:
    """Return the gated loudness in LUFS of a mono wave, float32 [N]; -inf for silence.

    A wave shorter than one block (0.4 s) is measured as one block, ungated.
    """
    if not len(samples):
        return -math.inf
    weighted = _k_weighted(samples, sample_rate_hz)
    block = min(round(_BLOCK_S * sample_rate_hz), len(weighted))
    step = round(_STEP_S * sample_rate_hz)
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(weighted) - block + 1, step)
    powers = (sums[starts + block] - sums[starts]) / block
    audible = powers[powers > _power(_ABSOLUTE_GATE)]
    if not len(audible):
        return -math.inf
    threshold = audible.mean() * 10 ** (_RELATIVE_GATE / 10)
    return _lufs(float(audible[audible > threshold].mean()))


def loudness_gain_db(samples: FloatArray, sample_rate_hz: int) -> float:
    """Return the gain in dB to `TARGET_LUFS`, limited to `MAX_GAIN_DB` either way; 0 for silence.

    The model speaks about as loud as its reference, so this constant, found once at enrolment,
    brings every sentence of a voice to the same loudness without a compressor.
    """
    loudness = integrated_loudness(samples, sample_rate_hz)
    if not math.isfinite(loudness):
        return 0.0
    return max(-MAX_GAIN_DB, min(MAX_GAIN_DB, TARGET_LUFS - loudness))


def apply_gain(samples: FloatArray, gain_db: float) -> FloatArray:
    """Return `samples` louder by `gain_db`; nothing is clipped here."""
    return samples * np.float32(10 ** (gain_db / 20))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))


def _lufs(power: float) -> float:
    return _OFFSET + 10 * math.log10(power)


def _k_weighted(samples: FloatArray, rate_hz: int) -> NDArray[np.float64]:
    """Apply both stages in the frequency domain, with room for their tails."""
    size = 1 << (len(samples) + math.ceil(_TAIL_S * rate_hz) - 1).bit_length()
    spectrum = np.fft.rfft(samples.astype(np.float64), size)
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    for numerator, denominator in (_shelf(rate_hz), _high_pass(rate_hz)):
        response = np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)
        spectrum *= response
    weighted = np.fft.irfft(spectrum, size)
    return weighted[: len(samples)]


def _shelf(rate_hz: int) -> tuple[list[float], list[float]]:
    """Coefficients of the first stage, the head's effect: +4 dB above 1.7 kHz."""
    k = math.tan(math.pi * 1681.974450955533 / rate_hz)
    q = 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / q + k * k
    numerator = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    return (
        [value / scale for value in numerator],
        [1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale],
    )


def _high_pass(rate_hz: int) -> tuple[list[float], list[float]]:
    """Coefficients of the second stage, 38 Hz."""
    k = math.tan(math.pi * 38.13547087602444 / rate_hz)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    return [1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]
