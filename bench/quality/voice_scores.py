"""A second opinion on whose voice it is: pitch and formants, which no model of ours is fed.

A voice is five numbers: the median of log2 F0 and of log2 F1..F4 over voiced frames. F0 says how
high somebody speaks, the formants how long the vocal tract is and how vowels are made. The
distance of two voices is the rms of their differences in units of how much speakers differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.audio.resample import resample
from engine.train.pitch import estimate
from engine.types import Array, FloatArray

# Standard deviation between 59 speakers of the training corpus, both languages, one recording of 3
# to 5.5 s each, in octaves: F0 and F1..F4. What was said is part of it.
SPREAD = np.array([0.48, 0.22, 0.21, 0.14, 0.15], np.float32)
_RATE_HZ = 11000  # up to 5.5 kHz, where four formants of most speakers lie
_ORDER = 10  # five pairs of poles: four formants and what lies above them
_HOP_S = 0.02
_WINDOW_S = 0.03
_MIN_FRAMES = 10


@dataclass(frozen=True, slots=True)
class VoicePrint:
    """Medians over a recording's voiced frames; `formants_hz` is F1 to F4."""

    pitch_hz: float
    formants_hz: tuple[float, float, float, float]

    @property
    def octaves(self) -> FloatArray:
        """log2 of the five numbers."""
        return np.log2(np.array([self.pitch_hz, *self.formants_hz], np.float32))


def voice_print(samples: FloatArray, rate_hz: int) -> VoicePrint | None:
    """Measure float32 [N]; None where too little of it is voiced."""
    wave = resample(samples, rate_hz, 24000)
    pitch = estimate(wave, 24000, int(24000 * _HOP_S))
    where = np.flatnonzero(pitch.voiced)
    if len(where) < _MIN_FRAMES:
        return None
    low = resample(samples, rate_hz, _RATE_HZ)
    found = [f for i in where if (f := formants(low, (i + 0.5) * _HOP_S)) is not None]
    if len(found) < _MIN_FRAMES:
        return None
    medians = [float(value) for value in np.median(np.array(found), axis=0)]
    hz = float(np.exp(np.median(np.log(pitch.hz[where]))))
    return VoicePrint(hz, (medians[0], medians[1], medians[2], medians[3]))


def formants(samples: FloatArray, at_s: float) -> list[float] | None:
    """Return four formants of the frame around `at_s`, or None where they are not to be seen."""
    width = int(_WINDOW_S * _RATE_HZ)
    start = int(at_s * _RATE_HZ) - width // 2
    if start < 1 or start + width > len(samples):
        return None
    frame = samples[start - 1 : start + width].astype(np.float64)
    frame = (frame[1:] - 0.97 * frame[:-1]) * np.hamming(width)
    poles = np.roots(_predictor(frame))
    poles = poles[poles.imag > 0]
    hz = np.angle(poles) * _RATE_HZ / (2 * np.pi)
    bandwidth = -np.log(np.abs(poles)) * _RATE_HZ / np.pi
    kept = sorted(hz[(hz > 150) & (hz < 5300) & (bandwidth < 700)])
    return [float(value) for value in kept[:4]] if len(kept) >= 4 else None


def _predictor(frame: Array) -> Array:
    """Return linear prediction coefficients by the autocorrelation method (Levinson-Durbin)."""
    power = np.correlate(frame, frame, "full")[len(frame) - 1 : len(frame) + _ORDER]
    power[0] = power[0] * 1.0001 + 1e-9
    coefficients = np.array([1.0])
    error = power[0]
    for order in range(1, _ORDER + 1):
        reflection = -float(coefficients @ power[order:0:-1]) / error
        extended = np.append(coefficients, 0.0)
        coefficients = extended + reflection * extended[::-1]
        error *= 1 - reflection**2
    return coefficients


def distance(a: VoicePrint, b: VoicePrint) -> float:
    """Return how far two voices are apart; two speakers are about 1.4 apart."""
    return float(np.sqrt(np.mean(((a.octaves - b.octaves) / SPREAD) ** 2)))


def mean_print(prints: list[VoicePrint]) -> VoicePrint:
    """Return the geometric mean of several recordings of one voice."""
    middle = 2 ** np.mean([p.octaves for p in prints], axis=0)
    return VoicePrint(float(middle[0]), tuple(float(v) for v in middle[1:]))  # type: ignore[arg-type]
