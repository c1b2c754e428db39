"""Loudness agrees with the standard's own test signals and with another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.audio.loudness import (
    MAX_GAIN_DB,
    TARGET_LUFS,
    apply_gain,
    integrated_loudness,
    loudness_gain_db,
)
from tests.speechlike import noise, silence, speechlike


def _tone(seconds: float, dbfs: float, rate_hz: int = 48000, hz: float = 1000.0) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16000, 32000, 44100, 48000])
def test_full_scale_tone_is_minus_three(rate_hz: int) -> None:
    """BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS."""
    tone = _tone(5, 0, rate_hz, 997.0)
    assert integrated_loudness(tone, rate_hz) == pytest.approx(-3.01, abs=0.05)


def test_gates_ignore_pauses() -> None:
    """EBU Tech 3341 case 3, in one channel: the quiet parts at -36 do not count."""
    quiet = _tone(10, -36, 16000)
    wave = np.concatenate([quiet, _tone(60, -23, 16000), quiet])
    assert integrated_loudness(wave, 16000) == pytest.approx(-26.0, abs=0.1)


@pytest.mark.parametrize("rate_hz", [32000, 48000])
def test_agrees_with_pyloudnorm(rate_hz: int) -> None:
    """Another implementation of the standard gives the same figure to 0.01 LU."""
    pyloudnorm = pytest.importorskip("pyloudnorm")
    for wave in (speechlike(7.3, rate_hz), noise(4, rate_hz, level=0.05), _tone(3, -20, rate_hz)):
        theirs = pyloudnorm.Meter(rate_hz, filter_class="DeMan").integrated_loudness(
            wave.astype(np.float64)
        )
        assert integrated_loudness(wave, rate_hz) == pytest.approx(theirs, abs=0.01)


def test_silence_has_no_loudness_and_no_gain() -> None:
    """Silence, or nothing at all, is -inf and left alone."""
    assert integrated_loudness(silence(2), 32000) == -math.inf
    assert integrated_loudness(silence(0), 32000) == -math.inf
    assert loudness_gain_db(silence(2), 32000) == 0.0


def test_short_wave_is_one_block() -> None:
    """A wave shorter than a block still has a loudness."""
    assert integrated_loudness(_tone(0.2, -20), 48000) == pytest.approx(-23, abs=0.6)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.3])
def test_gain_brings_a_voice_to_the_target(level: float) -> None:
    """After the gain the wave measures TARGET_LUFS."""
    wave = speechlike(5, level=level)
    gained = apply_gain(wave, loudness_gain_db(wave, 32000))
    assert integrated_loudness(gained, 32000) == pytest.approx(TARGET_LUFS, abs=0.01)


def test_gain_is_limited() -> None:
    """A whisper is not brought up with all of its noise."""
    assert loudness_gain_db(speechlike(5, level=0.001), 32000) == MAX_GAIN_DB
