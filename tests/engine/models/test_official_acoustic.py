"""Official SoVITS files: names, sizes, round trips, and files that do not fit."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import official_files
from engine.checkpoint import FileKind, read_official
from engine.errors import CheckpointError
from engine.model_config import AcousticConfig, HifiGanConfig
from engine.models.acoustic import AcousticNetwork, init_random
from engine.models.official_acoustic import (
    config_from_official,
    config_to_official,
    weight_shapes,
    weights_from_official,
    weights_to_official,
)
from engine.types import Array
from tests import tiny_acoustic
from tests.golden_acoustic import VERSIONS, read_sovits

torch.set_num_threads(1)

# Measured on the public implementation's own classes @48b1a01; without the posterior encoder.
FULL_SIZES = {
    "v1": (
        official_files.FULL_V1,
        AcousticConfig(symbol_set="v1", num_phonemes=322, style_bins=1025),
    ),
    "v2": (official_files.FULL_SOVITS, AcousticConfig()),
    "v2Pro": (official_files.FULL_PRO, AcousticConfig(gin_dim=1024, speaker_dim=20480)),
    "v2ProPlus": (
        official_files.FULL_PLUS,
        AcousticConfig(
            gin_dim=1024,
            speaker_dim=20480,
            decoder=HifiGanConfig(initial_channels=768, upsample_kernels=(20, 16, 8, 2, 2)),
        ),
    ),
}  # fmt: skip
MILLIONS = {"v2": (40.816, 51.310), "v2Pro": (65.788, 79.428), "v2ProPlus": (84.698, 98.338)}


class Shape:
    """Stands for a tensor of which only the size matters."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def shaped(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Shape]:
    return {name: Shape(tuple(shape)) for name, shape in shapes.items()}


@functools.cache
def official_state(config: AcousticConfig, *, with_posterior: bool = False) -> dict[str, Array]:
    state = init_random(config, 1, with_posterior=with_posterior).state_dict()
    return weights_to_official({name: x.numpy() for name, x in state.items()}, config)


@pytest.mark.parametrize("version", FULL_SIZES)
def test_full_size_shapes_and_config(version: str) -> None:
    """The config read from full-size shapes is upstream's, and gives back every shape."""
    sizes, expected = FULL_SIZES[version]
    official = official_files.sovits_shapes(sizes)
    config = config_from_official(shaped(official), official_files.sovits_config(sizes))
    assert config == expected
    shapes = weights_to_official(shaped(weight_shapes(config)), config)
    assert {name: shape.shape for name, shape in shapes.items()} == official


@pytest.mark.parametrize("version", MILLIONS)
def test_full_size_parameter_counts(version: str) -> None:
    """As many learned numbers as the public classes have, without and with the posterior."""
    config = FULL_SIZES[version][1]
    for with_posterior, expected in zip((False, True), MILLIONS[version], strict=True):
        shapes = weight_shapes(config, with_posterior=with_posterior)
        buffers = {"codebook", "codebook_sum", "cluster_size", "initialized"}
        count = sum(
            int(np.prod(shape))
            for name, shape in shapes.items()
            if name.removeprefix("quantizer.") not in buffers
        )
        assert round(count / 1e6, 3) == expected


@pytest.mark.parametrize("config", FULL_SIZES.values(), ids=FULL_SIZES.keys())
def test_our_names_are_the_network_s(config: tuple[Any, AcousticConfig]) -> None:
    """`weight_shapes` and the torch module agree, name by name, at full size."""
    with torch.device("meta"):
        state = AcousticNetwork(config[1], with_posterior=True).state_dict()
    shapes = weight_shapes(config[1], with_posterior=True)
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parity
def test_listed_shapes_of_the_golden_files(fixtures_dir: Path, version: str) -> None:
    """shapes.json.gz lists exactly the tensors our network exports."""
    listed = json.loads(gzip.decompress((fixtures_dir / "shapes.json.gz").read_bytes()))
    official = {name: tuple(shape) for name, shape in listed[f"sovits_{version}"].items()}
    config = config_from_official(shaped(official), None)
    shapes = weights_to_official(shaped(weight_shapes(config)), config)
    assert {name: shape.shape for name, shape in shapes.items()} == official


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parity
def test_golden_files_round_trip_to_the_bit(fixtures_dir: Path, version: str) -> None:
    """Official -> network in fp32 -> official gives every number back."""
    file = read_sovits(fixtures_dir, version)
    config = config_from_official(file.tensors, file.config)
    network = AcousticNetwork(config)
    weights = weights_from_official(file.tensors, config)
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    back = weights_to_official(network.state_dict(), config)
    assert back.keys() == file.tensors.keys()
    for name, tensor in back.items():
        assert np.array_equal(tensor.numpy(), file.tensors[name].astype(np.float32)), name


def test_v1_file_written_by_us_imports_and_speaks_the_same(tmp_path: Path) -> None:
    """A v1 network exported to the official container and read again computes the same wave."""
    source = init_random(tiny_acoustic.V1, 3).half().float().requires_grad_(False).eval()
    weights = weights_to_official(source.state_dict(), tiny_acoustic.V1)
    with official_files.hparams_class() as cls:
        config = cls()
        for key, value in config_to_official(tiny_acoustic.V1, "v1").items():
            setattr(config, key, value)
        path = tmp_path / "v1.pth"
        half = {name: tensor.half() for name, tensor in weights.items()}
        torch.save({"weight": half, "config": config, "info": "8epoch_216iteration"}, path)
    file = read_official(path, FileKind.SOVITS)
    found = config_from_official(file.tensors, file.config)
    assert found.symbol_set == "v1" and found.num_phonemes == 322 and found.style_bins == 1025
    assert replace(found, posterior_layers=tiny_acoustic.V1.posterior_layers) == tiny_acoustic.V1
    again = AcousticNetwork(found)
    loaded = weights_from_official(file.tensors, found)
    again.load_state_dict({name: torch.from_numpy(w) for name, w in loaded.items()})
    again.requires_grad_(False).eval()
    spec = torch.rand(1, 1025, 7, generator=torch.Generator().manual_seed(0))
    waves = []
    for network in (source, again):
        style = network.style_vector([spec])
        memory = network.encode_text(torch.tensor([[5, 321, 0]]), style)
        mean = network.prior_stats(torch.tensor([[1, 2, 31]]), memory).mean
        waves.append(network.decode(network.flow_reverse(mean, style), style))
    assert torch.equal(waves[0], waves[1])
    assert waves[0].abs().max() > 0


def test_posterior_is_kept_where_a_file_has_one() -> None:
    """Pretrained files carry enc_q; its sizes are read and its tensors mapped."""
    tensors = official_state(tiny_acoustic.PRO, with_posterior=True)
    config = config_from_official(tensors, None)
    assert config == tiny_acoustic.PRO
    weights = weights_from_official(tensors, config)
    assert "posterior.stats.weight" in weights
    assert all(weights_to_official(weights, config)[name] is x for name, x in tensors.items())


def drop(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: tensors.pop(name)


def reshape(name: str, *shape: int) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: tensors.update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("damage", "stored", "message"),
    [
        (drop("enc_p.proj.weight"), {}, "no usable tensor enc_p.proj.weight"),
        (drop("ssl_proj.bias"), {}, "lacks tensors (1): ssl_proj.bias"),
        (drop("dec.ups.0.weight_v"), {}, "no usable tensor dec.ups.0.weight_v"),
        (reshape("foreign.weight", 1), {}, "unknown tensors (1): foreign.weight"),
        (reshape("flow.flows.2.pre.weight", 9, 4, 1), {}, "[9, 4, 1], expected [8, 4, 1]"),
        (reshape("enc_p.text_embedding.weight", 500, 8), {}, "500 phoneme symbols, valid: 322"),
        (reshape("enc_p.proj.weight", 16), {}, "no usable tensor enc_p.proj.weight"),
        (reshape("dec.resblocks.0.convs.0.weight_v", 1), {}, "type 2, valid: 1"),
        (drop("dec.resblocks.14.convs1.0.weight_v"), {}, "residual blocks per stage"),
        (lambda tensors: None, {"gin_channels": 17}, "gin_channels is 17, its tensors say 16"),
        (lambda tensors: None, {"upsample_rates": [10, 8, 2, 2]}, "must multiply to 640"),
        (lambda tensors: None, {"upsample_rates": [8, 10, 2, 2, 2, 1]}, "5 stages"),
        (lambda tensors: None, {"resblock_dilation_sizes": [[1, 3, 5]]}, "3 residual blocks"),
        (lambda tensors: None, {"semantic_frame_rate": "50hz"}, "semantic_frame_rate is '50hz'"),
    ],
)
def test_file_that_does_not_fit_says_why(
    damage: Callable[[dict[str, Any]], Any], stored: dict[str, Any], message: str
) -> None:
    """Missing, unknown, misshapen tensors and contradicting configs are named."""
    tensors: dict[str, Any] = dict(official_state(tiny_acoustic.HIFIGAN))
    damage(tensors)
    with pytest.raises(CheckpointError) as caught:
        config = config_from_official(tensors, {"model": stored})
        weights_from_official(tensors, config)
    assert message in str(caught.value)


def test_stored_config_is_optional() -> None:
    """Without a config the hop, rate and upsampling are upstream's, the rest comes from shapes."""
    tensors = official_state(tiny_acoustic.PRO_PLUS)
    stored = config_to_official(tiny_acoustic.PRO_PLUS, "v2ProPlus")
    assert config_from_official(tensors, None) == config_from_official(tensors, stored)
