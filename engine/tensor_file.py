"""A safetensors file of a pack, tensor by tensor.

Tensors are stored as float16, float32, integers, or as 8-bit blocks: `NAME` int8 in the tensor's
own shape and `NAME:scales` float16 [blocks], BLOCK consecutive values sharing a scale. Blocks are a
storage form only: they are float32 when read, and a tensor of that name is what every reader sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from engine.errors import CheckpointError
from engine.types import Array, FloatArray

BLOCK = 32
SCALES = ":scales"
_LEVELS = 127.0
_MIN_SIZE = 4096  # smaller tensors are biases and norms, where 8 bits save nothing


class TensorFile:
    """The tensors of one file; nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            CheckpointError: Missing or damaged file.
        """
        self._path = path
        try:
            self._file = cast(Any, safe_open(path, framework="numpy"))
            self._names = frozenset(self._file.keys())
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise self._damaged(error) from None

    def names(self) -> list[str]:
        """Return the names of the tensors, sorted."""
        return sorted(name for name in self._names if not name.endswith(SCALES))

    def tensor(self, name: str) -> Array:
        """Return a tensor, floating-point ones as float32.

        Raises:
            CheckpointError: No such tensor, or a damaged file.
        """
        if name not in self._names:
            raise CheckpointError(f"{self._path} has no tensor {name!r}; import the model again")
        try:
            stored: Array = self._file.get_tensor(name)
            if name + SCALES in self._names:
                return from_blocks(stored, self._file.get_tensor(name + SCALES))
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise self._damaged(error) from None
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored

    def is_in_blocks(self, name: str) -> bool:
        """Tell whether a tensor is stored as 8-bit blocks."""
        return name + SCALES in self._names

    def _damaged(self, error: Exception) -> CheckpointError:
        return CheckpointError(f"{self._path}: cannot be read ({error}); import it again")


def to_blocks(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return `tensors` with every large matrix or kernel as 8-bit blocks, the rest as float16.

    Half the bytes of float16, at 0.4 % of a block's largest value. Meant for networks whose
    outputs are quantised or averaged anyway, such as an SSL encoder.
    """
    stored: dict[str, Array] = {}
    for name, array in tensors.items():
        if array.dtype.kind != "f":
            stored[name] = array
        elif array.ndim < 2 or array.size < _MIN_SIZE or array.size % BLOCK:
            stored[name] = array.astype(np.float16)
        else:
            values = array.astype(np.float32).reshape(-1, BLOCK)
            scales = (np.abs(values).max(axis=1) / _LEVELS).astype(np.float16)
            divisor = np.where(scales > 0, scales.astype(np.float32), 1.0)[:, None]
            levels = np.clip(np.rint(values / divisor), -_LEVELS, _LEVELS)
            stored[name] = levels.astype(np.int8).reshape(array.shape)
            stored[name + SCALES] = scales
    return stored


def from_blocks(levels: Array, scales: Array) -> FloatArray:
    """Return float32 values of int8 `levels` and their float16 `scales`."""
    values = levels.reshape(-1, BLOCK).astype(np.float32) * scales.astype(np.float32)[:, None]
    array: FloatArray = values.reshape(levels.shape)
    return array
