"""Kaldi's filter bank: golden frames and its rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.audio.fbank import kaldi_fbank
from engine.errors import InvalidParameter


def noise(num_samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=num_samples)).astype(np.float32)


@pytest.mark.parity
def test_frames_equal_upstream(fixtures_dir: Path) -> None:
    """80 filters over the golden wave, relative to the largest value, 1e-5."""
    data = np.load(fixtures_dir / "front.npz")
    frames = kaldi_fbank(data["wav16k"][0], num_filters=data["fbank"].shape[1])
    assert frames.shape == data["fbank"].shape
    assert np.abs(frames - data["fbank"]).max() <= 1e-5 * np.abs(data["fbank"]).max()


@pytest.mark.parametrize(("num_samples", "num_frames"), [(400, 1), (559, 1), (560, 2), (16000, 98)])
def test_only_whole_windows_count(num_samples: int, num_frames: int) -> None:
    """No padding at the ends: 1 + (N - 400) // 160 frames."""
    assert kaldi_fbank(noise(num_samples)).shape == (num_frames, 80)


def test_a_constant_offset_is_removed() -> None:
    """DC in the recording does not reach the filters."""
    np.testing.assert_allclose(
        kaldi_fbank(noise(2000) + np.float32(0.25)), kaldi_fbank(noise(2000)), atol=1e-3
    )


def test_silence_is_floored() -> None:
    """Digital silence gives the logarithm of float32's epsilon, not minus infinity."""
    frames = kaldi_fbank(np.zeros(800, dtype=np.float32))
    np.testing.assert_allclose(frames, np.log(np.finfo(np.float32).eps), rtol=1e-6)


def test_less_than_a_window_is_refused() -> None:
    """The message says how many samples are needed."""
    with pytest.raises(InvalidParameter, match=r">= 400 samples"):
        kaldi_fbank(noise(399))
