"""The spectral gate takes noise away and leaves the voice."""

from __future__ import annotations

import numpy as np

from engine.audio.denoise import denoise
from tests.speechlike import noise, silence, speechlike

RATE = 32000


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(wave.astype(np.float64) ** 2)))


def test_noise_in_pauses_goes_down_and_the_voice_stays() -> None:
    """At least 12 dB less in the pauses, the voice closer to the clean one than before."""
    clean = np.concatenate([silence(1), speechlike(3, level=0.1), silence(1)])
    noisy = clean + noise(5, level=0.01)
    cleaned = denoise(noisy, RATE)
    assert cleaned.dtype == np.float32 and len(cleaned) == len(noisy)
    pause = slice(round(0.2 * RATE), round(0.8 * RATE))
    assert _rms(cleaned[pause]) < _rms(noisy[pause]) / 4
    assert _rms(cleaned - clean) < 0.8 * _rms(noisy - clean)
    spoken = slice(round(1.5 * RATE), round(3.5 * RATE))
    assert abs(_rms(cleaned[spoken]) / _rms(clean[spoken]) - 1) < 0.05


def test_clean_wave_stays_what_it_is() -> None:
    """Over digital silence nothing is gated away."""
    clean = np.concatenate([silence(1), speechlike(3), silence(1)])
    assert _rms(denoise(clean, RATE) - clean) < 0.01 * _rms(clean)


def test_wave_without_pauses_comes_back_unchanged() -> None:
    """Where the noise cannot be measured nothing is done."""
    wave = speechlike(3)
    np.testing.assert_array_equal(denoise(wave, RATE), wave)
