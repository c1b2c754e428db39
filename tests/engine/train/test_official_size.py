"""Fine-tuning starts on a pack of official size: the loss falls, with random base weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.model_config import AcousticConfig, T2SConfig
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.batches import Corpus, Item
from engine.train.few_shot import gentle
from engine.train.store import Entry, Features
from engine.train.t2s import T2SSettings, T2SStage

STEPS = 20
FRAMES = 32
_V2PRO = AcousticConfig(gin_dim=1024, speaker_dim=20480)
_SMALL_BATCH = AcousticSettings(
    batch_size=1,
    max_frames=FRAMES,
    slice_frames=8,
    reference_frames=FRAMES,
    unit_weight=0.0,
    prior_share=1.0,
    frozen=("posterior",),
    autocast=False,
)


@pytest.fixture
def corpus() -> Corpus:
    """One utterance of tones with random tokens: what is learnt is not speech, only less wrong."""
    rng = np.random.default_rng(0)
    config = _V2PRO
    time = np.arange(FRAMES * config.hop) / config.sample_rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 200 * time) + 0.1 * np.sin(2 * np.pi * 900 * time)
    features = Features(
        wave=(wave * 32767).astype(np.int16),
        ssl=np.zeros((FRAMES, config.ssl_dim), np.float16),
        hz=np.full(FRAMES, 200.0, np.float32),
        voiced=np.ones(FRAMES, bool),
        speaker=rng.normal(size=config.speaker_dim).astype(np.float32),
        phoneme_ids=rng.integers(1, 700, 12),
        word_lens=np.full(4, 3),
    )
    entry = Entry("u0", "me", "en", "", FRAMES * 0.02)
    return Corpus([Item(entry, features, rng.integers(0, 1024, FRAMES // 2))])


@pytest.mark.full_size
@pytest.mark.timeout(0)
def test_acoustic_loss_falls_over_20_steps(corpus: Corpus) -> None:
    """V2Pro, 20 steps at ten times the rate of fine-tuning, one row of 0.16 s."""
    torch.set_num_threads(1)
    stage = AcousticStage(_V2PRO, _SMALL_BATCH, gentle(STEPS), corpus)
    losses = _train(stage, ("prior_spectral", "prior_mel"))
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:3]), losses


@pytest.mark.full_size
@pytest.mark.timeout(0)
def test_t2s_loss_falls_over_20_steps(corpus: Corpus) -> None:
    """24 layers of 512."""
    torch.set_num_threads(1)
    settings = T2SSettings(batch_size=1, guide_layers=(), replaced=0.0, autocast=False)
    stage = T2SStage(T2SConfig(), settings, gentle(STEPS), corpus, {})
    losses = _train(stage, ("tokens",))
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:3]), losses


def _train(stage: AcousticStage | T2SStage, names: tuple[str, ...]) -> list[float]:
    for optimizer in stage.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 10 * gentle(STEPS).learning_rate
    losses = []
    for step in range(STEPS):
        torch.manual_seed(step)
        figures = stage.step(step)
        losses.append(sum(figures[name] for name in names))
    print([round(loss, 3) for loss in losses])
    return losses
