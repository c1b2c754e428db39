"""Takes the weights out of a graph: what is in the pack already is named, not stored again."""

from __future__ import annotations

import hashlib
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from engine.graph_weights import norm_scale, scaled, sinusoid, weight_norm
from engine.model_config import T2SConfig
from engine.pack import Pack, Part
from engine.types import Array
from export.phases import PhasedKernel

# Smaller tensors stay in the graph: constants of the network, shapes, biases of small networks.
MIN_BYTES = 1024
LOCATION = "pack"  # where the graph file says its weights are; no file has this name
_NORM = ".original0"
_VARIANCE = ".running_var"
_TOLERANCE = 1e-6  # torch and numpy add the squares of a norm in another order


@dataclass(frozen=True, slots=True)
class _Candidate:
    recipe: str
    value: Array


class WeightIndex:
    """The tensors of some parts of a pack, found by their values."""

    def __init__(self, pack: Pack, parts: tuple[Part, ...]) -> None:
        self._exact: dict[str, str] = {}
        self._near: dict[tuple[int, ...], list[_Candidate]] = {}
        for part in parts:
            tensors = pack.tensors(part)
            for name, tensor in tensors.items():
                self._exact.setdefault(_digest(tensor), f"copy {part} {name}")
                if tensor.ndim == 2:
                    self._exact.setdefault(_digest(tensor.T), f"transpose {part} {name}")
            for recipe, value in (*_products(part, tensors), *_folded(part, tensors)):
                self._near.setdefault(value.shape, []).append(_Candidate(recipe, value))
        for recipe, table in _tables(pack.config.t2s):
            self._near.setdefault(table.shape, []).append(_Candidate(recipe, table))

    def recipe(self, value: Array) -> str | None:
        """Return how to make `value`, or None if the pack does not hold it."""
        if exact := self._exact.get(_digest(value)):
            return exact
        for candidate in self._near.get(value.shape, ()):
            if np.allclose(candidate.value, value, rtol=_TOLERANCE, atol=_TOLERANCE):
                return candidate.recipe
        return None


def take_weights(
    model: ir.Model, index: WeightIndex, phased: Mapping[str, PhasedKernel] | None = None
) -> dict[str, str]:
    """Replace the graph's weights by references, in place; return initializer -> recipe.

    Args:
        phased: Initializers that are made from kernels of the pack (`split_phases`).
    """
    recipes = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < MIN_BYTES:
            continue
        kernel = (phased or {}).get(name)
        recipe = index.recipe(tensor.numpy() if kernel is None else kernel.source)
        if recipe is None:
            continue
        recipes[name] = recipe if kernel is None else f"phases {kernel.rate} {recipe}"
        value.const_value = ir.ExternalTensor(
            LOCATION,
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=name,
        )
    return recipes


def drop_notes(model: ir.Model) -> None:
    """Remove what the exporter wrote for its own debugging: paths and stacks of this machine."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _tables(sizes: T2SConfig) -> Iterator[tuple[str, Array]]:
    """Yield the tables of positions, whose frequencies are the network's to the bit."""
    columns = torch.arange(0, sizes.hidden_dim, 2, dtype=torch.float32)
    frequencies = torch.exp(columns * -(math.log(10000.0) / sizes.hidden_dim)).numpy()
    text = b64encode(frequencies.astype("<f4").tobytes()).decode()
    yield f"sinusoid {sizes.max_positions} {text}", sinusoid(sizes.max_positions, frequencies)


def _products(part: Part, tensors: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield kernels whose length and direction are stored apart."""
    for name, length in tensors.items():
        if name.endswith(_NORM):
            stem = name.removesuffix(_NORM)
            value = weight_norm(length, tensors[f"{stem}.original1"])
            yield f"weight_norm {part} {stem}", value


def _folded(part: Part, tensors: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield kernels as the exporter leaves them: scaled by the batch norm behind them.

    A norm stands beside its kernel in the same module, so both names share all but the last word.
    """
    for variance_name, variance in tensors.items():
        if not variance_name.endswith(_VARIANCE):
            continue
        norm = variance_name.removesuffix(_VARIANCE)
        scale = norm_scale(tensors[f"{norm}.weight"], variance)
        module = norm.rpartition(".")[0]
        for name, kernel in tensors.items():
            beside = name.rpartition(".")[0].rpartition(".")[0] == module
            if beside and kernel.ndim > 2 and len(kernel) == len(scale):
                yield f"batch_norm {part} {name} {norm}", scaled(kernel, scale)


def _digest(value: Array) -> str:
    head = f"{value.dtype}{value.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()
