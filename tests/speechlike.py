"""Waves with the rhythm and spectrum of speech, for tests that need no words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from engine.types import FloatArray


def speechlike(
    seconds: float,
    rate_hz: int = 32000,
    *,
    level: float = 0.1,
    pitch_hz: float = 140.0,
    seed: int = 0,
) -> FloatArray:
    """Return syllable-like bursts of a voiced spectrum, four a second, RMS about `level`."""
    count = round(seconds * rate_hz)
    t = np.arange(count) / rate_hz
    rng = np.random.default_rng(seed)
    wave = np.zeros(count)
    for harmonic in range(1, 25):
        strength = 1 / harmonic * rng.uniform(0.5, 1.5)
        drift = 1 + 0.03 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6))
        wave += strength * np.sin(2 * np.pi * pitch_hz * harmonic * np.cumsum(drift) / rate_hz)
    envelope = 0.02 + np.clip(np.sin(2 * np.pi * 4 * t), 0, None)
    wave *= envelope
    return (wave * (level / np.sqrt(np.mean(wave**2)))).astype(np.float32)


def silence(seconds: float, rate_hz: int = 32000) -> FloatArray:
    """Return digital silence."""
    return np.zeros(round(seconds * rate_hz), np.float32)


def noise(
    seconds: float, rate_hz: int = 32000, *, level: float = 0.01, seed: int = 1
) -> FloatArray:
    """Return white noise of RMS `level`."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(seconds * rate_hz)) * level).astype(np.float32)


def write_wav(path: Path, samples: FloatArray, rate_hz: int = 32000) -> Path:
    """Write a 16-bit WAV."""
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return path
