"""The GE2E speaker encoder: windows, level and the average.

Window positions were computed once with the packaged encoder (Resemblyzer 0.1.4).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.audio.mel import ge2e_mel
from engine.audio.speaker_windows import (
    raise_level,
    speaker_mean,
    speaker_windows,
    window_starts,
)
from engine.models.ge2e import Ge2e
from engine.types import FloatArray

SETTINGS = {"mel_bins": 40, "hidden_dim": 16, "num_layers": 2}


def network() -> Ge2e:
    torch.set_num_threads(1)
    torch.manual_seed(2)
    return Ge2e(SETTINGS, 24)


def noise(num_samples: int, level: float = 0.1) -> FloatArray:
    samples = level * np.random.default_rng(4).normal(size=num_samples)
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("num_samples", "starts"),
    [
        (4000, [0]),
        (16000, [0]),
        (25600, [0]),
        (30000, [0]),
        (31000, [0]),
        (33000, [0, 77]),
        (36000, [0, 77]),
        (37120, [0, 77]),
        (50000, [0, 77, 154]),
        (80000, [0, 77, 154, 231, 308]),
    ],
)
def test_windows_lie_where_the_published_encoder_puts_them(
    num_samples: int, starts: list[int]
) -> None:
    """1.6 s windows, 1.3 a second, without a last one that is mostly padding."""
    assert window_starts(num_samples) == starts


def embed(encoder: Ge2e, samples: FloatArray) -> FloatArray:
    """Embed a wave as a backend does."""
    with torch.inference_mode():
        windows = encoder(torch.from_numpy(speaker_windows(samples, mel_bins=encoder.mel_bins)))
    return speaker_mean(windows.numpy())


def test_an_embedding_is_the_mean_of_its_windows_with_unit_length() -> None:
    """Each window alone, averaged and normalised, gives the wave's embedding."""
    encoder, samples = network(), noise(50000)
    padded = np.pad(samples, (0, (154 + 160) * 160 - 50000))
    mel = ge2e_mel(padded)
    with torch.inference_mode():
        windows = [encoder(torch.from_numpy(mel[None, s : s + 160]))[0] for s in (0, 77, 154)]
    mean = torch.stack(windows).mean(0).numpy()
    embedding = embed(encoder, samples)
    np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-6)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-6)


def test_a_quiet_recording_is_raised_before_it_is_heard() -> None:
    """The network sees power, not its logarithm, so level would matter otherwise."""
    encoder = network()
    np.testing.assert_allclose(
        embed(encoder, noise(30000, 0.003)), embed(encoder, noise(30000, 0.0003)), atol=1e-5
    )
    loud = noise(1000, 0.2)
    assert raise_level(loud) is loud
    assert np.sqrt(np.mean(raise_level(noise(9000, 0.001)) ** 2)) == pytest.approx(10**-1.5)


def test_silence_is_not_amplified() -> None:
    """No division by zero."""
    np.testing.assert_array_equal(raise_level(np.zeros(100, dtype=np.float32)), 0)
