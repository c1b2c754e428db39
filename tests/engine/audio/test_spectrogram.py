"""The linear spectrogram of references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.audio.spectrogram import linear_spectrogram
from engine.errors import InvalidParameter
from tests.numerics import STAGE, assert_close, relative_error


@pytest.mark.parity
def test_equals_upstream(fixtures_dir: Path) -> None:
    """Mirror of 704, Hann 2048, hop 640, floor 1e-8 under the root."""
    with np.load(fixtures_dir / "front.npz") as front:
        spec = linear_spectrogram(front["wav32k"][0], n_fft=2048, hop=640)
        assert_close(spec, front["spec"], STAGE)


@pytest.mark.parity
def test_a_symmetric_window_is_noticed(fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The periodic window differs from numpy's hanning by more than the tolerance."""
    monkeypatch.setattr("engine.audio.spectrogram._hann", np.hanning)
    with np.load(fixtures_dir / "front.npz") as front:
        spec = linear_spectrogram(front["wav32k"][0], n_fft=2048, hop=640)
        assert relative_error(spec, front["spec"]) > STAGE


def test_torch_version_is_equal_row_by_row() -> None:
    """Training and enrolment read references the same way."""
    torch = pytest.importorskip("torch")
    from engine.models.spectrogram import batch_spectrogram

    waves = np.random.default_rng(0).normal(size=(2, 5000)).astype(np.float32)
    batch = batch_spectrogram(torch.from_numpy(waves), n_fft=1024, hop=480)
    for row, wave in zip(batch, waves, strict=True):
        assert_close(row, linear_spectrogram(wave, n_fft=1024, hop=480), STAGE)


def test_tone_peaks_in_its_bin_and_frames_count_hops() -> None:
    """1 kHz at 32 kHz is bin 64 of 2048; N samples give N // hop frames."""
    tone = np.sin(2 * np.pi * 1000 / 32000 * np.arange(6500)).astype(np.float32)
    spec = linear_spectrogram(tone, n_fft=2048, hop=640)
    assert spec.shape == (1025, 10) and spec.dtype == np.float32
    assert (spec[:, 3:7].argmax(axis=0) == 64).all()


def test_silence_is_the_floor() -> None:
    """The root of 1e-8, so that nothing is ever exactly zero."""
    spec = linear_spectrogram(np.zeros(2000, np.float32), n_fft=1024, hop=480)
    assert np.allclose(spec, 1e-4)


@pytest.mark.parametrize("samples", [np.zeros(704, np.float32), np.zeros((2, 9000), np.float32)])
def test_too_short_or_not_mono_is_refused(samples: np.ndarray) -> None:  # type: ignore[type-arg]
    """The error says how many samples are needed."""
    with pytest.raises(InvalidParameter, match="one axis of more than 704 samples"):
        linear_spectrogram(samples, n_fft=2048, hop=640)
