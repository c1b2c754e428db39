"""What is heard in a wave, as a loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.audio.mel import whisper_mel
from engine.errors import InvalidParameter
from engine.models.quantizer import Quantizer
from engine.models.whisper import WhisperEncoder
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.batches import Corpus
from engine.train.listener import Listener
from engine.train.loop import LoopSettings
from engine.types import Array
from tests.engine.train.conftest import CONFIG

_SETTINGS = {"mel_bins": 40, "dim": 16, "num_heads": 2, "num_layers": 1, "max_frames": 100}


@pytest.fixture
def listener() -> Listener:
    """A tiny one at 24 kHz with random weights."""
    torch.manual_seed(0)
    return Listener(WhisperEncoder(_SETTINGS), Quantizer(CONFIG), 24000)


def _tones(rate: int) -> Array:
    """Sum of gliding tones below 8 kHz, half a second."""
    time = np.arange(rate // 2) / rate
    tones = [np.sin(2 * np.pi * hz * time * (1 + 0.2 * time)) for hz in (150, 700, 1900, 4300)]
    return 0.1 * np.sum(tones, axis=0).astype(np.float32)


def test_mel_is_whisper_s_without_resampling(listener: Listener) -> None:
    """Taken at 24 kHz, it is what Whisper's front end gives at 16 kHz, edges aside."""
    ours = listener.mel(torch.from_numpy(_tones(24000))[None])[0].numpy()
    theirs = whisper_mel(_tones(16000), num_filters=40)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs)[:, 3:-3].mean() < 0.01


def test_the_same_wave_says_the_same(listener: Listener) -> None:
    """The loss is zero for a copy, and its gradient shows the way from another wave."""
    real = torch.from_numpy(_tones(24000))[None]
    unknown, mask = torch.full((1, 12), -1), torch.ones(1, 12)
    assert listener(real, real, unknown, mask)["speech"].item() == 0.0
    made = (real + 0.02 * torch.randn(real.shape)).requires_grad_()
    before = listener(made, real, unknown, mask)["speech"]
    before.backward()
    assert made.grad is not None
    with torch.no_grad():
        closer = made - 1e-3 * made.grad / made.grad.abs().mean()
        assert 0 < listener(closer, real, unknown, mask)["speech"] < before


def test_a_weight_without_a_listener_is_refused(corpus: Corpus) -> None:
    """Half a configuration is an error that names the setting."""
    settings = AcousticSettings(speech_weight=1.0)
    with pytest.raises(InvalidParameter, match="speech_weight"):
        AcousticStage(CONFIG, settings, LoopSettings(steps=1), corpus)
