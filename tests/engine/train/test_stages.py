"""Every stage learns its tiny corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.train import ssl_tokens
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.batches import Corpus
from engine.train.loop import LoopSettings
from engine.train.settings import CONFIGS, load_recipe
from engine.train.ssl_tokens import TokenData, TokenSettings, TokenStage
from engine.train.t2s import T2SSettings, T2SStage
from tests.engine.train.conftest import CONFIG, T2S_CONFIG

LOOP = LoopSettings(steps=100, learning_rate=3e-3, final_rate=1e-3, warmup_steps=1)


def _train(stage: TokenStage | AcousticStage | T2SStage, steps: int) -> list[dict[str, float]]:
    for optimizer in stage.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = LOOP.learning_rate
    figures = []
    for step in range(steps):
        torch.manual_seed(step)
        figures.append(dict(stage.step(step)))
    return figures


def test_tokens_tell_phonemes(corpus: Corpus) -> None:
    """After clustering, a linear layer reads the phoneme from nearly every token."""
    names, pitches = ssl_tokens.inventory(corpus), ssl_tokens.speaker_pitches(corpus)
    data = TokenData.join(
        [ssl_tokens.token_data(i, i.features.ssl, 1.0, names, pitches) for i in corpus.items]
    )
    config = replace(CONFIG, ssl_context_blocks=1)
    settings = TokenSettings(batch_tokens=64, window=8, free_steps=40, autocast=False)
    stage = TokenStage(config, settings, LOOP, data)
    _train(stage, 80)
    columns = stage.project(np.arange(len(data.phoneme))[None])
    tokens = stage.quantizer.nearest(columns.t().unsqueeze(0))[0]
    heard = stage.heads.phonemes(stage.quantizer.codebook[tokens]).argmax(dim=1).numpy()
    assert (heard == data.phoneme)[data.phoneme >= 0].mean() > 0.9
    assert 2 < len(tokens.unique()) <= 8


@pytest.mark.slow
def test_acoustic_rebuilds_recordings(corpus: Corpus) -> None:
    """Spectral, mel and pitch errors fall on the posterior's way."""
    settings = AcousticSettings(batch_size=4, max_frames=24, reference_frames=24, autocast=False)
    figures = _train(AcousticStage(CONFIG, settings, LOOP, corpus), 25)
    for name in ("spectral", "mel", "pitch"):
        assert np.mean([f[name] for f in figures[-5:]]) < 0.8 * figures[0][name], name


@pytest.mark.slow
def test_acoustic_speaks_from_tokens(corpus: Corpus) -> None:
    """The prior's way learns too, with KL and guide beside it."""
    settings = AcousticSettings(
        batch_size=4,
        max_frames=24,
        reference_frames=24,
        kl_weight=0.3,
        prior_share=1.0,
        guide_weight=0.5,
        autocast=False,
    )
    figures = _train(AcousticStage(CONFIG, settings, LOOP, corpus), 15)
    for name in ("prior_mel", "kl", "guide"):
        assert np.mean([f[name] for f in figures[-5:]]) < figures[0][name], name


def test_discriminators_learn_beside_the_decoder(corpus: Corpus) -> None:
    """Both sides have a loss, and the judges' weights move."""
    settings = AcousticSettings(
        batch_size=2, max_frames=8, reference_frames=8, adversarial_weight=0.1, autocast=False
    )
    stage = AcousticStage(CONFIG, settings, LOOP, corpus)
    assert stage.judges is not None
    before = [p.detach().clone() for p in stage.judges.parameters()]
    figures = _train(stage, 1)
    assert {"judges", "adversarial", "feature"} <= figures[0].keys()
    moved = [not torch.equal(a, b) for a, b in zip(before, stage.judges.parameters(), strict=True)]
    assert all(moved)


def test_fresh_judges_learn_alone_first(corpus: Corpus) -> None:
    """While they do, nothing else moves; then both sides do."""
    settings = AcousticSettings(
        batch_size=2,
        max_frames=8,
        reference_frames=8,
        adversarial_weight=0.1,
        judges_alone=2,
        autocast=False,
    )
    stage = AcousticStage(CONFIG, settings, LOOP, corpus)
    before = {k: v.detach().clone() for k, v in stage.network.state_dict().items()}
    figures = _train(stage, 2)
    assert [set(f) for f in figures] == [{"judges"}, {"judges"}]
    assert all(torch.equal(v, before[k]) for k, v in stage.network.state_dict().items())
    assert "adversarial" in stage.step(2)
    assert any(not torch.equal(v, before[k]) for k, v in stage.network.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("muon", [False, True])
def test_t2s_learns_tokens_and_places(corpus: Corpus, muon: bool) -> None:
    """Tokens are predicted and the guided head finds the phoneme, whoever optimizes."""
    settings = T2SSettings(batch_size=4, guide_layers=(0, 1), autocast=False, muon=muon)
    places = {item.entry.id: item.place for item in corpus.items}
    stage = T2SStage(T2S_CONFIG, settings, LOOP, corpus, places)
    figures = _train(stage, 60)
    assert np.mean([f["tokens"] for f in figures[-5:]]) < 0.6 * figures[0]["tokens"]
    assert np.mean([f["guide"] for f in figures[-5:]]) < figures[0]["guide"]


def test_spliced_rows_keep_tokens_with_their_phonemes(corpus: Corpus) -> None:
    """However the runs are cut, each token of the conftest's corpus is its phoneme's."""
    places = {item.entry.id: item.place for item in corpus.items}
    settings = T2SSettings(splice_words=3, splice_runs=3, guide_layers=())
    stage = T2SStage(T2S_CONFIG, settings, LOOP, corpus, places)
    lengths = set()
    for seed in range(20):
        row = stage.splice(corpus.items[seed % 8], np.random.default_rng(seed))
        assert np.array_equal(row.phonemes[row.place] - 10, row.tokens)
        assert len(row.tokens) == 2 * len(row.phonemes)
        lengths.add(len(row.phonemes))
    assert 1 <= min(lengths) <= 3 < max(lengths) <= 9


def test_nano_recipe_fits_together() -> None:
    """The committed recipe loads, and its T2S speaks the quantizer's tokens."""
    recipe = load_recipe(Path(CONFIGS / "nano.toml"))
    assert recipe.t2s.vocab_size == recipe.acoustic.codebook_size + 1
    assert [s.prior_share for s, _ in recipe.acoustic_stages] == [0.0, 0.6, 1.0, 1.0]
