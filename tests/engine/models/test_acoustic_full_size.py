"""Full-size networks with random weights, from reference to wave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.backends.torch_acoustic import TorchAcoustic
from engine.model_config import AcousticConfig, HifiGanConfig
from engine.models.acoustic import init_random

pytestmark = pytest.mark.full_size
torch.set_num_threads(1)

CONFIGS = {
    "v1": AcousticConfig(symbol_set="v1", num_phonemes=322, style_bins=1025),
    "v2": AcousticConfig(),
    "v2Pro": AcousticConfig(gin_dim=1024, speaker_dim=20480),
    "v2ProPlus": AcousticConfig(
        gin_dim=1024,
        speaker_dim=20480,
        decoder=HifiGanConfig(initial_channels=768, upsample_kernels=(20, 16, 8, 2, 2)),
    ),
}


@pytest.mark.parametrize("version", CONFIGS)
def test_full_size_network_runs(version: str) -> None:
    """5 tokens become 6400 samples that are neither silent nor NaN."""
    config = CONFIGS[version]
    model = TorchAcoustic(init_random(config, 1))
    rng = np.random.default_rng(0)
    spec = rng.random((1025, 20)).astype(np.float32)
    speaker = [rng.normal(size=20480).astype(np.float32)] if config.speaker_dim else []
    tokens = model.semantic_tokens(rng.normal(size=(768, 10)).astype(np.float32))
    style = model.style_vector([spec], speaker)
    stats = model.prior(tokens, model.encode_text(np.arange(4), style))
    wave = model.decoder(model.flow(stats.mean, style), style)
    assert (model.flow_halo, model.decoder_halo) == (32, 11)
    assert wave.shape == (6400,) and np.isfinite(wave).all() and wave.std() > 0
