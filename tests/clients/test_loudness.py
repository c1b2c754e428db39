"""Loudness against the values BS.1770 and EBU Tech 3341 give."""

from __future__ import annotations

import numpy as np
import pytest

from clients.loudness import RATE_HZ, SILENT_LUFS, loudness_lufs, set_loudness


def sine(hz: float, dbfs: float, duration_s: float) -> np.ndarray:
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


@pytest.mark.parametrize(
    ("hz", "expected"),
    [
        (997.0, -3.01),  # BS.1770-4: a full-scale 997 Hz sine in one channel
        (10_000.0, 0.30),  # the shelf; pyloudnorm 0.2.0 measures 0.297
        (40.0, -9.29),  # the high-pass; pyloudnorm 0.2.0 measures -9.289
    ],
)
def test_a_full_scale_sine_measures_as_the_standard_says(hz: float, expected: float) -> None:
    """The K-weighting at three frequencies."""
    assert loudness_lufs(sine(hz, 0.0, 5.0)) == pytest.approx(expected, abs=0.06)


def test_quiet_parts_do_not_count() -> None:
    """After EBU Tech 3341 case 3: -36, -23, -36 dBFS measures as the middle."""
    parts = [sine(1000, -36, 2), sine(1000, -23, 12), sine(1000, -36, 2)]
    assert loudness_lufs(np.concatenate(parts)) == pytest.approx(-23 - 3.01, abs=0.1)


def test_silence_and_very_short_sounds_have_a_loudness() -> None:
    """The gate's value, and one block."""
    assert loudness_lufs(np.zeros(RATE_HZ, np.float32)) == SILENT_LUFS
    assert loudness_lufs(np.zeros(0, np.float32)) == SILENT_LUFS
    assert loudness_lufs(sine(997, -20, 0.2)) == pytest.approx(-23.01, abs=0.5)


def test_loudness_is_set_as_far_as_the_peak_allows() -> None:
    """To a tenth of a LU; never past -1 dBFS; silence stays silence."""
    assert loudness_lufs(set_loudness(sine(500, -40, 3), -16)) == pytest.approx(-16, abs=0.1)
    click = sine(500, -60, 3)
    click[1000] = 0.5
    assert np.abs(set_loudness(click, -5)).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    silence = np.zeros(480, np.float32)
    assert set_loudness(silence, -16) is silence
