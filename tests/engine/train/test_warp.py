"""Copies by another speaker: pitch and length move together, the words' order stays."""

from __future__ import annotations

import numpy as np

from engine.train.warp import warp

RATE_HZ = 24000


def _peak_hz(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax() * RATE_HZ / len(wave))


def test_pitch_moves_against_length() -> None:
    """A tone of 400 Hz in a copy that is longer by r is one of 400 / r Hz."""
    tone = (0.3 * np.sin(2 * np.pi * 400 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    for seed in range(6):
        copy = warp(tone, np.random.default_rng(seed))
        stretch = len(copy) / len(tone)
        assert 0.84 <= stretch <= 1.19
        assert abs(_peak_hz(copy) * stretch / 400 - 1) < 0.01


def test_spectrum_is_bent_and_nothing_clips() -> None:
    """White noise comes back coloured, by less than tilt and bends together."""
    noise = np.random.default_rng(0).normal(size=RATE_HZ).astype(np.float32)
    noise /= np.abs(noise).max()
    copies = [warp(noise, np.random.default_rng(seed)) for seed in range(5)]
    assert all(np.abs(copy).max() <= 1 for copy in copies)
    bands = np.array([[np.mean(p**2) for p in np.array_split(np.abs(np.fft.rfft(c))[:-900], 8)]
                      for c in copies])  # fmt: skip
    spread = 10 * np.log10(bands.max(axis=1) / bands.min(axis=1))
    assert (spread > 1).all() and (spread < 30).all()
