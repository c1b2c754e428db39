"""The weights of exported graphs, made from the pack's own tensors when a graph is opened.

A graph file holds no large tensor. Its record in the manifest says how each is made, one line per
initializer, so weights are on disk once however many graphs use them:

    copy PART TENSOR            as stored
    transpose PART TENSOR       a matrix, transposed
    weight_norm PART TENSOR     the product of TENSOR.original0 (length) and .original1 (direction)
    batch_norm PART TENSOR NORM a kernel scaled by the batch norm after it
    blocks PART TENSOR SIZE     a matrix [N, K] as 8-bit blocks, uint8 [N, K / SIZE, SIZE]
    scales PART TENSOR SIZE     the scales of these blocks, float32 [N, K / SIZE]
    levels PART TENSOR          a matrix [N, K] as int8 [K, N], each column of one scale
    level_scales PART TENSOR    the scales of these columns, float32 [N]
    phases RATE RECIPE          what RECIPE makes, the kernel of a transposed convolution of stride
                                RATE, as that of a plain one (`phases`)
    sinusoid ROWS FREQUENCIES   a table of positions; float32 radians per position, in base64
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

import numpy as np

from engine.errors import CheckpointError
from engine.pack import Pack
from engine.tensor_file import BLOCK, TensorFile
from engine.types import Array, FloatArray

_OLD_BLOCK = "32"  # in recipes that do not say how many weights share a scale
_ZERO = 128  # what stands for 0 in the unsigned blocks
_LEVELS = 127
_NORM_EPS = 1e-5  # of every batch norm here


class GraphWeights:
    """Makes initializers from recipes."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._files: dict[str, TensorFile] = {}

    def load(self, recipes: Mapping[str, str]) -> dict[str, Array]:
        """Return the initializers of a graph by name.

        Raises:
            CheckpointError: A recipe that is not one, or names what the pack has not.
        """
        try:
            return {name: self._make(recipe) for name, recipe in recipes.items()}
        finally:
            # Files are mapped: open ones would keep every page that was read in memory.
            self._files.clear()

    def _make(self, recipe: str) -> Array:
        match recipe.split(" "):
            case ["sinusoid", rows, frequencies]:
                return sinusoid(int(rows), np.frombuffer(b64decode(frequencies), "<f4"))
            case ["phases", rate, *source]:
                return phases(self._make(" ".join(source)), int(rate))
            case ["copy", part, name]:
                return np.ascontiguousarray(self._tensor(part, name))
            case ["transpose", part, name]:
                return np.ascontiguousarray(self._tensor(part, name).T)
            case ["weight_norm", part, name]:
                length = self._tensor(part, f"{name}.original0")
                return weight_norm(length, self._tensor(part, f"{name}.original1"))
            case ["batch_norm", part, name, norm]:
                scale = norm_scale(
                    self._tensor(part, f"{norm}.weight"), self._tensor(part, f"{norm}.running_var")
                )
                return scaled(self._tensor(part, name), scale)
            case ["blocks" | "scales" as what, part, name, *size]:
                blocks, scales = to_blocks(self._tensor(part, name), int((*size, _OLD_BLOCK)[0]))
                return blocks if what == "blocks" else scales
            case ["levels" | "level_scales" as what, part, name]:
                levels, scales = to_levels(self._tensor(part, name))
                return levels if what == "levels" else scales
        raise CheckpointError(f"unknown recipe {recipe!r} in a graph's manifest; export again")

    def stored_block(self, part: str, name: str) -> int | None:
        """Return how many weights of a tensor share a scale in the pack; None: stored in full."""
        return BLOCK if self._file(part).is_in_blocks(name) else None

    def _tensor(self, part: str, name: str) -> Array:
        return self._file(part).tensor(name)

    def _file(self, part: str) -> TensorFile:
        if part not in self._files:
            self._files[part] = TensorFile(self._pack.path / f"{part}.safetensors")
        return self._files[part]


def weight_norm(length: FloatArray, direction: FloatArray) -> FloatArray:
    """Return the weight of which `direction` is the direction and `length` the norms.

    `length` has size 1 on the axes the norm runs over.
    """
    axes = tuple(axis for axis, size in enumerate(length.shape) if size == 1)
    norms = np.sqrt(np.sum(np.square(direction), axis=axes, keepdims=True))
    product: FloatArray = np.asarray(direction * (length / norms), np.float32)
    return product


def norm_scale(weight: FloatArray, variance: FloatArray) -> FloatArray:
    """Return what a batch norm multiplies each channel by."""
    scale: FloatArray = np.asarray(weight / np.sqrt(variance + np.float32(_NORM_EPS)), np.float32)
    return scale


def scaled(kernel: FloatArray, scale: FloatArray) -> FloatArray:
    """Return a kernel [O, ...] with each output channel multiplied by its `scale` [O]."""
    product: FloatArray = kernel * scale.reshape(-1, *(1 for _ in kernel.shape[1:]))
    return product


def phases(kernel: FloatArray, rate: int) -> FloatArray:
    """Return the kernel of the plain convolution that a transposed one is.

    Args:
        kernel: [C_in, C_out, K] of a transposed convolution.
        rate: Its stride s.

    Returns:
        [C_out * s, C_in, ceil(K / s)]: row c * s + r makes the samples r, r + s, ... of channel c,
        where the input has as many zeros each side as the kernel has taps less one.
    """
    inputs, outputs, length = kernel.shape
    taps = -(-length // rate)
    padded = np.pad(kernel, ((0, 0), (0, 0), (0, taps * rate - length)))
    # A transposed convolution puts tap d behind the position it is of: backwards, as a plain one.
    rows = padded.reshape(inputs, outputs, taps, rate)[:, :, ::-1].transpose(1, 3, 0, 2)
    return np.ascontiguousarray(rows.reshape(outputs * rate, inputs, taps))


def to_blocks(matrix: FloatArray, size: int) -> tuple[Array, FloatArray]:
    """Return a matrix [N, K] as uint8 [N, K / size, size] around 128, and float32 [N, K / size]."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % size))).reshape(rows, -1, size)
    scales = np.abs(padded).max(axis=2) / np.float32(_LEVELS)
    divisor = np.where(scales > 0, scales, np.float32(1.0))[:, :, None]
    levels = np.rint(padded / divisor) + np.float32(_ZERO)
    return levels.astype(np.uint8), scales.astype(np.float32)


def to_levels(matrix: FloatArray) -> tuple[Array, FloatArray]:
    """Return a matrix [N, K] transposed, as int8 [K, N], and the scale of each column [N]."""
    blocks, scales = to_blocks(matrix, matrix.shape[1])
    levels = (blocks[:, 0].astype(np.int16) - _ZERO).astype(np.int8)
    return np.ascontiguousarray(levels.T), scales[:, 0]


def sinusoid(rows: int, frequencies: FloatArray) -> FloatArray:
    """Return the table of `engine.models.t2s.SinusoidPosition`, float32 [rows, 2 * frequencies].

    The frequencies are given, not computed: at position 4000 one bit of them is 2e-4 radians.
    """
    angle = np.arange(rows, dtype=np.float32)[:, None] * frequencies
    table: FloatArray = np.stack((np.sin(angle), np.cos(angle)), axis=2).reshape(rows, -1)
    return table
