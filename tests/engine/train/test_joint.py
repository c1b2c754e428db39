"""The prior learns T2S's tokens, and nothing else of the network changes; the sound may follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.errors import CheckpointError, InvalidParameter
from engine.model_config import ModelConfig
from engine.models.acoustic import init_random
from engine.models.t2s import T2S
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.train import stages
from engine.train.acoustic import AcousticSettings
from engine.train.batches import Corpus
from engine.train.joint import JointSettings, JointStage
from engine.train.loop import LoopSettings, Run, load_average
from engine.train.own_tokens import own_tokens
from engine.train.settings import CONFIGS, load_recipe
from engine.train.store import FeatureStore
from engine.types import Array, Language, Sampling
from tests.engine.train.conftest import CONFIG, T2S_CONFIG

LOOP = LoopSettings(steps=60, learning_rate=3e-3, final_rate=1e-3, warmup_steps=5, ema=0.5)
SMALL = JointSettings(batch_size=4, max_frames=32, reference_frames=16, autocast=False)


def _shifted(corpus: Corpus) -> dict[str, Array]:
    """Other tokens for every utterance: each code has another name."""
    return {item.entry.id: (item.tokens + 3) % CONFIG.codebook_size for item in corpus.items}


def _weights() -> dict[str, Tensor]:
    return dict(init_random(CONFIG, 1).state_dict())


@pytest.mark.slow
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


ENCODER = {"mel_bins": 40, "dim": 16, "num_heads": 2, "num_layers": 1, "max_frames": 100}


def _pack(folder: Path, *, prompts: bool) -> Pack:
    """Write a pack of the tiny networks, all weights random."""
    torch.manual_seed(0)
    states = {Part.ACOUSTIC: _weights(), Part.T2S: T2S(T2S_CONFIG).state_dict()}
    info = PackInfo("tiny", (Language.EN,), prompts=prompts)
    config = ModelConfig(family="nano", t2s=T2S_CONFIG, acoustic=CONFIG)
    arrays = {part: {k: v.numpy() for k, v in state.items()} for part, state in states.items()}
    return write_pack(folder, info, config, arrays)


def test_a_pack_learns_what_its_t2s_says(store: FeatureStore, tmp_path: Path) -> None:
    """Features in, weights out: first the prior, then the sound, each in a run folder."""
    recipe = load_recipe(CONFIGS / "nano.toml")
    once = LoopSettings(steps=2, learning_rate=1e-3, final_rate=1e-3, warmup_steps=1)
    sound = AcousticSettings(
        batch_size=2, max_frames=24, reference_frames=16, prior_share=1.0, unit_weight=0.0,
        speech_weight=1.0, phoneme_weight=1.0, frozen=("posterior", "style"), autocast=False,
    )  # fmt: skip
    recipe = replace(
        recipe, probe_loop=once, joint=SMALL, joint_loop=once, joint_stages=((sound, once),)
    )
    counted: list[tuple[int, int]] = []
    base = _pack(tmp_path / "pack", prompts=False)
    weights = stages.train_joint(
        tmp_path,
        base,
        recipe,
        encoder=WhisperEncoder(ENCODER),
        on_item=lambda done, count: counted.append((done, count)),
    )
    assert counted[-1][0] == counted[-1][1] > 0
    assert all((tmp_path / name / "run.json").exists() for name in ("joint", "probe", "joint-1"))
    before = base.tensors(Part.ACOUSTIC)
    changed = {n.split(".")[0] for n in before if not np.array_equal(before[n], weights[n])}
    assert {"prior", "decoder"} <= changed and not {"style", "quantizer"} & changed


def test_a_t2s_that_continues_prompts_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    """Its tokens are those of its prompts."""
    base = _pack(tmp_path / "pack", prompts=True)
    with pytest.raises(CheckpointError, match="continues prompts"):
        stages.train_joint(tmp_path, base, load_recipe(CONFIGS / "nano.toml"))
