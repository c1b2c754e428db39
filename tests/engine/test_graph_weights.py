"""Initializers made of a pack's tensors, compared with what torch makes of them."""

from __future__ import annotations

from base64 import b64encode

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm as torch_weight_norm

from engine.errors import CheckpointError
from engine.graph_weights import (
    GraphWeights,
    norm_scale,
    phases,
    scaled,
    sinusoid,
    to_blocks,
    to_levels,
    weight_norm,
)
from engine.models.t2s import SinusoidPosition
from engine.pack import Pack
from tests.micro_pack import bare_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return bare_pack(tmp_path_factory.mktemp("pack"))


def test_tensors_come_as_stored_or_transposed(pack: Pack) -> None:
    """In float32, contiguous, under the graph's own names."""
    made = GraphWeights(pack).load(
        {"a": "copy t2s head.weight", "b": "transpose t2s layers.0.qkv.weight"}
    )
    tensors = pack.tensors("t2s")
    np.testing.assert_array_equal(made["a"], tensors["head.weight"])
    np.testing.assert_array_equal(made["b"], tensors["layers.0.qkv.weight"].T)
    assert made["b"].flags.c_contiguous and made["b"].dtype == np.float32


def test_a_kernel_is_split_into_phases(pack: Pack) -> None:
    """Of whatever another recipe makes."""
    name = "t2s head.weight"
    whole = GraphWeights(pack).load({"x": f"copy {name}"})["x"][:, :, None]
    np.testing.assert_array_equal(phases(whole, 1), whole.transpose(1, 0, 2))
    (conv,) = [
        n
        for n in pack.tensors("acoustic")
        if n.endswith("stages.0.upsample.parametrizations.weight.original1")
    ]
    stem = conv.removesuffix(".original1")
    made = GraphWeights(pack).load({"x": f"phases 2 weight_norm acoustic {stem}"})["x"]
    source = GraphWeights(pack).load({"x": f"weight_norm acoustic {stem}"})["x"]
    np.testing.assert_array_equal(made, phases(source, 2))
    assert made.flags.c_contiguous


@pytest.mark.parametrize(
    "recipe", ["", "copy", "phases 2", "double t2s head.weight", "copy t2s a b"]
)
def test_an_unknown_recipe_is_refused(pack: Pack, recipe: str) -> None:
    """A manifest of a later version, or a damaged one."""
    with pytest.raises(CheckpointError, match="unknown recipe .*export again"):
        GraphWeights(pack).load({"x": recipe})


def test_a_tensor_the_pack_has_not_is_named(pack: Pack) -> None:
    """With the file it was looked for in."""
    with pytest.raises(CheckpointError, match="t2s.safetensors has no tensor 'tail.weight'"):
        GraphWeights(pack).load({"x": "copy t2s tail.weight"})


@pytest.mark.parametrize("dim", [0, 2])
def test_weight_norm_is_torch_s(dim: int) -> None:
    """Over the output channels, and over the last axis as HuBERT has it."""
    layer = torch_weight_norm(nn.Conv1d(6, 5, 3), dim=dim)
    split = layer.parametrizations.weight
    product = weight_norm(split.original0.detach().numpy(), split.original1.detach().numpy())
    np.testing.assert_allclose(product, layer.weight.detach().numpy(), rtol=1e-6)


def test_a_kernel_scaled_by_its_batch_norm_needs_only_a_shift() -> None:
    """Folded as torch folds it."""
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
    norm.running_var = torch.rand(4) + 0.5
    norm.weight = nn.Parameter(torch.rand(4) + 0.5)
    fused = torch.nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval())
    scale = norm_scale(norm.weight.detach().numpy(), norm.running_var.numpy())
    kernel = scaled(conv.weight.detach().numpy(), scale)
    np.testing.assert_allclose(kernel, fused.weight.detach().numpy(), rtol=1e-6)


def test_the_table_of_positions_is_the_network_s() -> None:
    """To the last position, from the frequencies in the recipe."""
    table = SinusoidPosition(32, 4000).table.numpy()
    columns = torch.arange(0, 32, 2, dtype=torch.float32)
    frequencies = torch.exp(columns * -(np.log(10000.0) / 32)).numpy()
    np.testing.assert_allclose(sinusoid(4000, frequencies), table, atol=1e-6)
    text = b64encode(frequencies.astype("<f4").tobytes()).decode()
    assert " " not in text  # recipes are split at spaces


@pytest.mark.parametrize("size", [32, 64])
def test_blocks_give_the_matrix_back(size: int) -> None:
    """Within half a level of each block, also where a row does not fill its last block."""
    matrix = np.random.default_rng(2).standard_normal((3, 70)).astype(np.float32)
    matrix[1] = 0.0
    levels, scales = to_blocks(matrix, size)
    count = -(-70 // size)
    assert levels.shape == (3, count, size) and levels.dtype == np.uint8
    assert scales.shape == (3, count)
    values = (levels.astype(np.float32) - 128) * scales[:, :, None]
    restored = values.reshape(3, -1)[:, :70]
    assert (np.abs(restored - matrix) <= np.repeat(scales, size, 1)[:, :70] * 0.5001).all()
    assert (levels.reshape(3, -1)[:, 70:] == 128).all()


def test_recipes_of_blocks_say_their_size(pack: Pack) -> None:
    """One without a size is of an older export, whose blocks had 32 weights."""
    source = "t2s layers.0.ffn_in.weight"
    recipes = {size: f"scales {source} {size}".strip() for size in ("", "32", "64")}
    found = GraphWeights(pack).load(recipes)
    np.testing.assert_array_equal(found[""], found["32"])
    assert found["32"].shape == (found["64"].shape[0], 2 * found["64"].shape[1])


def test_columns_of_levels_stand_for_the_matrix() -> None:
    """Transposed, each column to half a level of its own scale; a column of zeros stays zero."""
    matrix = np.random.default_rng(3).standard_normal((5, 70)).astype(np.float32)
    matrix[2] = 0
    levels, scales = to_levels(matrix)
    assert levels.dtype == np.int8 and levels.shape == (70, 5) and levels.flags.c_contiguous
    assert np.all(np.abs(levels * scales - matrix.T) <= scales / 2 * 1.001)
    assert np.abs(levels).max(axis=0).tolist() == [127, 127, 0, 127, 127]
