"""The pitch tracker."""

from __future__ import annotations

import numpy as np
import pytest

from engine.train.pitch import estimate


@pytest.mark.parametrize("hz", [70.0, 130.0, 240.0, 480.0])
def test_tone_with_overtones_is_found(hz: float) -> None:
    """Within half a percent, in every voiced frame, and nearly all are voiced."""
    time = np.arange(24000) / 24000
    wave = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 6)).astype(np.float32)
    pitch = estimate(0.2 * wave, 24000, 480)
    assert pitch.voiced.mean() > 0.9
    assert np.abs(pitch.hz[5:-5] / hz - 1).max() < 0.005


def test_noise_and_silence_are_unvoiced() -> None:
    """No pitch is invented; the track is filled so that its logarithm exists."""
    noise = np.random.default_rng(0).normal(size=24000).astype(np.float32) * 0.1
    assert estimate(noise, 24000, 480).voiced.mean() < 0.1
    silent = estimate(np.zeros(24000, np.float32), 24000, 480)
    assert not silent.voiced.any() and (silent.hz > 0).all()


def test_empty_wave_has_no_frames() -> None:
    """Shorter than a hop is no frame, not an error."""
    assert len(estimate(np.zeros(100, np.float32), 24000, 480).hz) == 0
