"""Removes steady background noise by spectral gating.

Only for references with a hum, hiss or fan behind the voice; a clean reference is better left
alone, since the style encoder hears whatever a gate does to the voice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.audio.vad import find_speech
from engine.types import FloatArray

_WINDOW_S = 0.032
_OVERLAP = 4
_FLOOR_DB = -18.0  # noise is turned down by this much, not to nothing: less "musical"
_OVER_NOISE = 2.0  # a bin this many times the noise level is left alone
_SMOOTH_FRAMES = 3
_SMOOTH_BINS = 3
_MIN_NOISE_FRAMES = 25  # 0.2 s


def denoise(samples: FloatArray, sample_rate_hz: int) -> FloatArray:
    """Return a wave of the same length with stationary noise turned down by up to 18 dB.

    The noise spectrum is taken from where nobody speaks; without enough of such places the wave
    comes back unchanged.
    """
    size = 1 << round(np.log2(_WINDOW_S * sample_rate_hz))
    hop = size // _OVERLAP
    if len(samples) <= 2 * size:
        return samples
    padded = np.pad(samples.astype(np.float64), (size, 2 * size), mode="reflect")
    window = np.hanning(size + 1)[:-1]
    starts = np.arange(0, len(padded) - size + 1, hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts] * window
    spectra = np.fft.rfft(frames, axis=1)
    is_noise = _noise_frames(samples, sample_rate_hz, starts + size // 2 - size)
    if is_noise.sum() < _MIN_NOISE_FRAMES:
        return samples
    power = np.abs(spectra) ** 2
    noise = power[is_noise].mean(axis=0)
    gain = _gain(power, noise)
    cleaned = np.fft.irfft(spectra * gain, size, axis=1) * window
    out = np.zeros(len(padded))
    weight = np.zeros(len(padded))
    for start, frame in zip(starts, cleaned, strict=True):
        out[start : start + size] += frame
        weight[start : start + size] += window**2
    result = out / np.maximum(weight, 1e-8)
    return result[size : size + len(samples)].astype(np.float32)


def _noise_frames(
    samples: FloatArray, rate_hz: int, centres: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which frames lie in the recording and outside speech."""
    quiet = (centres >= 0) & (centres < len(samples))
    margin = round(0.05 * rate_hz)
    for segment in find_speech(samples, rate_hz).segments:
        quiet &= (centres < segment.start - margin) | (centres >= segment.end + margin)
    return quiet


def _gain(
    power: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return a smooth gain per frame and bin, from the floor (noise) to 1 (speech)."""
    smoothed = _box(_box(power, _SMOOTH_FRAMES, 0), _SMOOTH_BINS, 1)
    ratio = smoothed / np.maximum(noise, 1e-12)
    floor = 10 ** (_FLOOR_DB / 20)
    openness = np.clip((ratio - _OVER_NOISE) / (4 * _OVER_NOISE), 0, 1)
    gain = floor + (1 - floor) * openness
    smooth: NDArray[np.float64] = _box(gain, _SMOOTH_FRAMES, 0)
    return smooth


def _box(values: NDArray[np.float64], width: int, axis: int) -> NDArray[np.float64]:
    """Moving average of odd width, edges repeated."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (width // 2, width // 2)
    padded = np.pad(values, pad, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=axis)
    mean: NDArray[np.float64] = windows.mean(axis=-1)
    return mean
