"""Official GPT names to ours and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.checkpoint import FileKind, OfficialFile, read_official
from engine.errors import CheckpointError
from engine.model_config import T2SConfig
from engine.models.official_t2s import (
    config_from_official,
    config_to_official,
    weight_shapes,
    weights_from_official,
    weights_to_official,
)
from engine.types import Array

TINY = T2SConfig(
    num_layers=2, hidden_dim=32, num_heads=4, ffn_dim=64, num_phonemes=50, vocab_size=40, bert_dim=6
)


def official_weights() -> dict[str, Array]:
    generator = np.random.default_rng(0)
    ours = {n: generator.normal(size=s).astype("f2") for n, s in weight_shapes(TINY).items()}
    return weights_to_official(ours, TINY)


def test_round_trip_keeps_every_array_and_number() -> None:
    """Ours -> official -> ours is the identity, for weights and config."""
    official = official_weights()
    config = config_from_official(official, config_to_official(TINY))
    assert config == TINY
    back = weights_to_official(weights_from_official(official, config), config)
    assert back.keys() == official.keys()
    assert all(back[name] is official[name] for name in official)


def test_our_names_are_the_network_s() -> None:
    """`weight_shapes` and the torch module agree, name by name."""
    torch = pytest.importorskip("torch")
    from engine.models.t2s import T2S

    torch.set_num_threads(1)
    state = T2S(TINY).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == weight_shapes(TINY)


def test_default_numbers_are_the_full_size_ones() -> None:
    """77.6 M parameters, as the public checkpoints have (measured there: 77.606 M)."""
    count = sum(int(np.prod(shape)) for shape in weight_shapes(T2SConfig()).values())
    assert round(count / 1e6, 3) == 77.606


def damaged(change: str) -> tuple[dict[str, Array], dict[str, object] | None]:
    weights = official_weights()
    config = config_to_official(TINY)
    match change:
        case "missing":
            del weights["model.h.layers.1.linear2.bias"]
        case "unknown":
            weights["model.extra"] = np.zeros(1)
        case "shape":
            weights["model.ar_predict_layer.weight"] = np.zeros((39, 32))
        case "no config":
            return weights, None
        case "contradiction":
            config["model"]["n_layer"] = 12
        case "heads":
            config["model"]["head"] = 5
    return weights, config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"no tensor model\.h\.layers\.1\.linear2\.bias"),
        ("unknown", r"unknown tensors: model\.extra"),
        ("shape", r"ar_predict_layer\.weight has shape \[39, 32\], expected \[40, 32\]"),
        ("no config", r"no config\.model\.head"),
        ("contradiction", r"config\.model\.n_layer is 12, its tensors say 2"),
        ("heads", r"head is 5, which does not divide the hidden size 32"),
    ],
)
def test_damage_is_named(change: str, message: str) -> None:
    """Every message names the tensor or field and what was expected."""
    weights, config = damaged(change)
    with pytest.raises(CheckpointError, match=message):
        weights_from_official(weights, config_from_official(weights, config))


@pytest.mark.parity
def test_the_golden_checkpoint_maps_completely(fixtures_dir: Path) -> None:
    """Every tensor of an official container finds its place, and the way back is exact."""
    found: OfficialFile = read_official(next(fixtures_dir.glob("tiny_gpt*.ckpt")), FileKind.GPT)
    config = config_from_official(found.tensors, found.config)
    weights = weights_from_official(found.tensors, config)
    assert weights_to_official(weights, config).keys() == found.tensors.keys()
