"""Speech is found where it is, over silence and over noise."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.vad import find_speech
from tests.speechlike import noise, silence, speechlike

RATE = 32000


@pytest.mark.parametrize(
    ("level", "background"), [(0.01, 0), (0.01, 0.001), (0.1, 0), (0.1, 0.003), (0.3, 0.01)]
)
def test_edges_are_found_within_a_tenth_of_a_second(level: float, background: float) -> None:
    """Pause, speech, pause: one segment, at any level that stands out of the noise."""
    wave = np.concatenate([silence(1), speechlike(3, level=level), silence(1.5)])
    wave = wave + noise(5.5, level=background)
    segments = find_speech(wave, RATE).segments
    assert segments[0].start == pytest.approx(1.0 * RATE, abs=0.1 * RATE)
    assert segments[-1].end == pytest.approx(4.0 * RATE, abs=0.2 * RATE)
    gaps = [b.start - a.end for a, b in zip(segments, segments[1:], strict=False)]
    assert max(gaps, default=0) < 0.3 * RATE


def test_two_phrases_are_two_segments() -> None:
    """A pause of 0.6 s separates."""
    wave = np.concatenate([silence(0.5), speechlike(2), silence(0.6), speechlike(1), silence(0.5)])
    assert len(find_speech(wave, RATE).segments) == 2


def test_silence_has_no_speech() -> None:
    """Digital silence and an empty wave have no segment."""
    assert find_speech(silence(3), RATE).segments == ()
    assert find_speech(silence(0), RATE).segments == ()


def test_a_click_is_not_speech() -> None:
    """Ten milliseconds of anything do not count."""
    wave = silence(3)
    wave[RATE : RATE + 200] = 0.5
    assert find_speech(wave, RATE).segments == ()


def test_levels_give_the_ratio_of_speech_to_noise() -> None:
    """Speech of RMS 0.1 over noise of RMS 0.01 is about 20 dB apart."""
    wave = np.concatenate([silence(1), speechlike(4, level=0.1), silence(1)]) + noise(6, level=0.01)
    found = find_speech(wave, RATE)
    assert found.speech_db - found.noise_db == pytest.approx(20, abs=2)
