"""How far a mouth is open, from samples and from timings."""

from __future__ import annotations

import numpy as np
import pytest

from clients.lips import LipTrack, openness

RATE_HZ = 24000


def tone(level: float, duration_s: float) -> bytes:
    """Return int16 samples whose RMS is `level` of full scale."""
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    samples = level * np.sqrt(2) * np.sin(2 * np.pi * 500 * t)
    return np.rint(samples * 32767).astype("<i2").tobytes()


def test_openness_covers_the_levels_of_speech() -> None:
    """Closed at -50 dBFS and below, open from -12 on, in between in proportion."""
    assert [openness(level) for level in (-96, -50, -31, -12, 0)] == [0, 0, 0.5, 1, 1]


def test_samples_open_the_mouth_when_they_sound() -> None:
    """However they are cut into packets; it closes over some steps."""
    track = LipTrack()
    data = bytes(2 * RATE_HZ // 5) + tone(10 ** (-31 / 20), 0.2) + bytes(2 * RATE_HZ // 2)
    for at in range(0, len(data), 702):
        track.add_samples(data[at : at + 702], RATE_HZ)
    assert track.duration_s == pytest.approx(0.9)
    assert track.openness_at(-1) == 0 and track.openness_at(0.1) == 0
    assert track.openness_at(0.3) == pytest.approx(0.5, abs=0.01)
    falling = [track.openness_at(0.39 + 0.02 * i) for i in range(10)]
    assert falling == sorted(falling, reverse=True) and falling[-1] == 0 < falling[2]


def test_timings_win_over_samples_and_may_come_first() -> None:
    """Each at the time of its sentence, whichever arrives first."""
    track = LipTrack()
    track.add_timing(48000, [-31] * 10)
    track.add_samples(tone(0.3, 1.4), RATE_HZ)
    assert track.openness_at(0.5) == 1
    assert track.openness_at(1.1) == pytest.approx(openness(-31), abs=0.15)
    assert track.openness_at(1.3) == 1
    assert track.duration_s == pytest.approx(1.4)
