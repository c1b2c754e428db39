"""The prior learns T2S's tokens, and nothing else of the network changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.errors import InvalidParameter
from engine.models.acoustic import init_random
from engine.models.t2s import T2S
from engine.train.batches import Corpus
from engine.train.joint import JointSettings, JointStage
from engine.train.loop import LoopSettings, Run, load_average
from engine.train.own_tokens import own_tokens
from engine.types import Array, Sampling
from tests.engine.train.conftest import CONFIG, T2S_CONFIG

LOOP = LoopSettings(steps=60, learning_rate=3e-3, final_rate=1e-3, warmup_steps=5, ema=0.5)
SMALL = JointSettings(batch_size=4, max_frames=32, reference_frames=16, autocast=False)


def _shifted(corpus: Corpus) -> dict[str, Array]:
    """Other tokens for every utterance: each code has another name."""
    return {item.entry.id: (item.tokens + 3) % CONFIG.codebook_size for item in corpus.items}


def _weights() -> dict[str, Tensor]:
    return dict(init_random(CONFIG, 1).state_dict())


def test_other_tokens_come_to_mean_the_same(corpus: Corpus, tmp_path: Path) -> None:
    """With other tokens the statistics come nearer to those of the recordings' own."""
    stage = JointStage(CONFIG, SMALL, LOOP, corpus, _weights(), [_shifted(corpus)])
    run = Run(tmp_path / "joint", stage, LOOP)
    run.train()
    lines = (tmp_path / "joint" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    errors = [float(line.split('"statistics": ')[1].split(",")[0]) for line in lines]
    assert errors[-1] < 0.7 * errors[0]


def test_only_the_prior_changes(corpus: Corpus, tmp_path: Path) -> None:
    """Flow, decoder, style and quantizer are what they were, to the bit."""
    before = _weights()
    loop = LoopSettings(steps=3, learning_rate=1e-2, final_rate=1e-2, warmup_steps=1)
    stage = JointStage(CONFIG, SMALL, loop, corpus, before, [_shifted(corpus)])
    Run(tmp_path / "joint", stage, loop).train()
    after = load_average(tmp_path / "joint", "acoustic")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"prior"}


def test_the_recordings_own_tokens_are_the_target(corpus: Corpus) -> None:
    """A network that has not moved yet says with them exactly what it should."""
    stage = JointStage(CONFIG, SMALL, LOOP, corpus, _weights(), [{}])
    assert stage.step(0)["statistics"] == 0.0


def test_own_tokens_stay_in_step_with_the_recording(corpus: Corpus) -> None:
    """As many tokens as the recording has, of the codebook, the same for the same seed."""
    torch.manual_seed(0)
    network = T2S(T2S_CONFIG).eval()
    sampling = Sampling(top_k=3, temperature=0.8)
    rounds = own_tokens(network, T2S_CONFIG, corpus.items, sampling)
    again = own_tokens(network, T2S_CONFIG, corpus.items, sampling)
    for tokens, same in zip(rounds, again, strict=True):
        for item in corpus.items:
            said = tokens[item.entry.id]
            assert said.shape == item.tokens.shape and said.max() < T2S_CONFIG.eos
            np.testing.assert_array_equal(said, same[item.entry.id])
    assert any((rounds[0][k] != rounds[1][k]).any() for k in rounds[0])


def test_own_tokens_of_a_sure_network_are_its_own(corpus: Corpus) -> None:
    """A T2S that always says one token says it whatever was recorded."""
    network = T2S(T2S_CONFIG).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.weight[5] = 1.0
        last = network.layers[-1].get_submodule("ffn_norm")
        assert isinstance(last, nn.LayerNorm)
        last.weight.zero_()
        last.bias.fill_(1.0)
    rounds = own_tokens(network, T2S_CONFIG, corpus.items, Sampling(top_k=1, temperature=1.0))
    assert all((tokens == 5).all() for said in rounds for tokens in said.values())


def test_a_share_of_everything_is_refused() -> None:
    """Steps with the recordings' own tokens only would teach nothing."""
    with pytest.raises(InvalidParameter, match="recorded_share"):
        JointSettings(recorded_share=1.0)
