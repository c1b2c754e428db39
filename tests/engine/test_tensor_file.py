"""Tensors stored as float16, float32 or 8-bit blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.errors import CheckpointError
from engine.tensor_file import TensorFile, to_blocks
from engine.types import Array


def stored(folder: Path, tensors: dict[str, Array]) -> TensorFile:
    save_file(tensors, folder / "part.safetensors")
    return TensorFile(folder / "part.safetensors")


def test_floats_come_as_float32_and_integers_as_they_are(tmp_path: Path) -> None:
    """Whatever they were stored in."""
    file = stored(tmp_path, {"half": np.ones(2, np.float16), "count": np.arange(3)})
    assert file.names() == ["count", "half"]
    assert file.tensor("half").dtype == np.float32
    np.testing.assert_array_equal(file.tensor("count"), [0, 1, 2])


def test_blocks_cost_half_of_float16_and_half_a_level(tmp_path: Path) -> None:
    """Every value within half of a 127th of its block's largest; zeros stay zeros."""
    values = np.random.default_rng(1).standard_normal((64, 128)).astype(np.float32)
    values[3] = 0.0
    tensors = to_blocks({"weight": values, "bias": values[0]})
    file = stored(tmp_path, tensors)
    assert file.names() == ["bias", "weight"]
    restored = file.tensor("weight")
    assert restored.dtype == np.float32 and restored.shape == values.shape
    largest = np.abs(values).reshape(-1, 32).max(axis=1, keepdims=True)
    error = np.abs(restored - values).reshape(-1, 32)
    assert (error <= largest * (0.5 / 127 + 2e-3)).all()
    np.testing.assert_array_equal(restored[3], 0.0)
    assert sum(array.nbytes for array in tensors.values()) < 0.55 * values.size * 2
    np.testing.assert_allclose(file.tensor("bias"), values[0], rtol=1e-3)


def test_integers_and_odd_sizes_are_not_made_blocks() -> None:
    """Blocks are for large floating-point matrices."""
    odd, ids = np.ones((67, 67), np.float32), np.zeros((64, 128), np.int64)
    tensors = to_blocks({"odd": odd, "ids": ids})
    assert set(tensors) == {"odd", "ids"}
    assert tensors["odd"].dtype == np.float16 and tensors["ids"].dtype == np.int64


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing tensor, a missing file, a file of something else."""
    file = stored(tmp_path, {"x": np.zeros(1)})
    with pytest.raises(CheckpointError, match="has no tensor 'y'"):
        file.tensor("y")
    with pytest.raises(CheckpointError, match="gone.safetensors: cannot be read"):
        TensorFile(tmp_path / "gone.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not one")
    with pytest.raises(CheckpointError, match="bad.safetensors: cannot be read"):
        TensorFile(tmp_path / "bad.safetensors")
