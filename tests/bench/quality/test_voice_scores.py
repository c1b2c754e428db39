"""Pitch and formants are measured on sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.quality.voice_scores import VoicePrint, distance, formants, mean_print, voice_print

RATE_HZ = 24000
FORMANTS = (600.0, 1400.0, 2500.0, 3500.0)
FIFTH_HZ = 4500.0


def _vowel(pitch_hz: float, scale: float = 1.0, seconds: float = 1.0) -> np.ndarray:
    """Return pulses through four resonances: a vowel of a vocal tract of length 1 / scale."""
    count = int(seconds * RATE_HZ)
    wave = np.zeros(count)
    wave[(np.arange(0, count, RATE_HZ / pitch_hz)).astype(int)] = 1.0
    frequency = np.fft.rfftfreq(2 * count, 1 / RATE_HZ)
    # At the lips, the glottis and radiation together leave 6 dB an octave.
    spectrum = np.fft.rfft(wave, 2 * count) / (1 + 1j * frequency / 200)
    for hz in (*FORMANTS, FIFTH_HZ):
        centre, width = hz * scale, 80.0
        s = 2j * np.pi * frequency
        pole = 2 * np.pi * (-width / 2 + 1j * centre)
        spectrum *= np.abs(pole) ** 2 / ((s - pole) * (s - np.conj(pole)))
    made = np.fft.irfft(spectrum)[:count]
    return (0.3 * made / np.abs(made).max()).astype(np.float32)


@pytest.mark.parametrize(("pitch_hz", "scale"), [(110.0, 1.0), (200.0, 1.15)])
def test_vowel_gives_its_pitch_and_formants(pitch_hz: float, scale: float) -> None:
    """Within 2 % and 10 %: formants of a high voice are only sampled at its harmonics."""
    found = voice_print(_vowel(pitch_hz, scale), RATE_HZ)
    assert found is not None
    assert found.pitch_hz == pytest.approx(pitch_hz, rel=0.02)
    assert found.formants_hz == pytest.approx([scale * hz for hz in FORMANTS], rel=0.1)


def test_same_vocal_tract_is_nearer_than_another() -> None:
    """A little pitch matters less than another head."""
    prints = [voice_print(_vowel(*v), RATE_HZ) for v in ((110, 1.0), (116, 1.0), (110, 1.12))]
    first, again, other = (p for p in prints if p is not None)
    assert distance(first, again) < 0.5 * distance(first, other)


def test_what_is_not_voiced_has_no_print() -> None:
    """Silence and a click."""
    assert voice_print(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert formants(np.zeros(100, np.float32), 0.0) is None


def test_mean_is_geometric() -> None:
    """An octave up and one down meet in the middle."""
    low, high = (VoicePrint(100.0 * k, (500.0 * k, 1500.0 * k, 2500.0 * k, 3500.0 * k))
                 for k in (1, 4))  # fmt: skip
    middle = mean_print([low, high])
    assert middle.pitch_hz == pytest.approx(200.0)
    assert distance(low, low) == 0
