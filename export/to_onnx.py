"""A GraphSpec to an ONNX file, compared with torch on other lengths than it was traced with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import Tensor

from engine.backends.onnx_session import open_session
from engine.errors import CheckpointError
from engine.graph_weights import GraphWeights
from engine.manifest import GraphRecord, describe_tensors, hash_file
from engine.types import Array
from export.graphs import GraphSpec
from export.phases import split_phases
from export.share_weights import WeightIndex, drop_notes, take_weights

# Sums run in another order; anything above this is a wrong graph, not rounding.
MAX_ERROR_FP32 = 2e-4


def export_graph(
    spec: GraphSpec, folder: Path, index: WeightIndex, weights: GraphWeights
) -> GraphRecord:
    """Write `folder/NAME.onnx` and return its record.

    Args:
        index: Finds the graph's weights in the pack.
        weights: Makes them again, as a runtime will.

    Raises:
        CheckpointError: If the graph's outputs are not torch's.
    """
    model = trace(spec)
    drop_notes(model)
    if spec.forget_shapes:
        forget_shapes(model)
    recipes = take_weights(model, index, split_phases(model))
    path = folder / f"{spec.name}.onnx"
    ir.save(model, path)
    error = compare(spec, path, weights.load(recipes))
    if not error <= MAX_ERROR_FP32:
        raise CheckpointError(
            f"graph {spec.name} differs from torch by {error:.1e} (allowed {MAX_ERROR_FP32:.0e})"
        )
    outputs = run_torch(spec, spec.inputs)
    return GraphRecord(
        graph=spec.name,
        precision="fp32",
        file=path.name,
        sha256=hash_file(path),
        num_bytes=path.stat().st_size,
        opset=spec.opset,
        inputs=describe_tensors(spec.inputs),
        outputs=describe_tensors(dict(zip(spec.outputs, outputs, strict=True))),
        weights=recipes,
        error=error,
    )


def trace(spec: GraphSpec) -> ir.Model:
    """Return the graph with its weights."""
    # The exporter follows the call's structure: keyword-free, *args as one nested tuple.
    names = list(spec.inputs)
    shapes = [dict(spec.dynamic[name]) or None for name in names]
    fixed = _num_fixed(spec.module)
    dynamic: tuple[object, ...] = (*shapes[:fixed],)
    if len(shapes) > fixed:
        dynamic = (*dynamic, tuple(shapes[fixed:]))
    with warnings.catch_warnings():
        # torch's exporter warns about its own internals; `compare` is what counts.
        warnings.simplefilter("ignore")
        for chatty in ("torch.onnx", "onnx_ir", "onnxscript"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        program = torch.onnx.export(
            spec.module,
            tuple(spec.inputs.values()),
            input_names=names,
            output_names=list(spec.outputs),
            dynamic_shapes=dynamic,
            opset_version=spec.opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of everything but inputs and weights; runtimes infer them."""
    for node in model.graph:
        for output in node.outputs:
            output.shape = None


def compare(spec: GraphSpec, path: Path, initializers: Mapping[str, Array]) -> float:
    """Return the largest relative error of the graph's outputs, on the traced and other lengths."""
    session = open_session(path, threads=1, initializers=initializers)
    return max(
        relative_error(run_torch(spec, inputs), run_onnx(session, inputs))
        for inputs in (spec.inputs, resized(spec, 1), resized(spec, 3))
    )


def run_torch(spec: GraphSpec, inputs: Mapping[str, Tensor]) -> list[Array]:
    """Run the wrapped network."""
    with torch.inference_mode():
        outputs = spec.module(*inputs.values())
    tensors = outputs if isinstance(outputs, tuple) else (outputs,)
    return [tensor.numpy() for tensor in tensors]


def run_onnx(session: ort.InferenceSession, inputs: Mapping[str, Tensor]) -> list[Array]:
    """Run the exported graph."""
    outputs: list[Array] = session.run(None, {k: v.numpy() for k, v in inputs.items()})
    return outputs


def relative_error(expected: list[Array], actual: list[Array]) -> float:
    """Return max |a - b| / max |b| over all outputs; integers and flags must be equal."""
    worst = 0.0
    for one, other in zip(expected, actual, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.dtype.kind in "bi":
            worst = max(worst, float(not np.array_equal(one, other)))
            continue
        scale = max(float(np.abs(one).max(initial=0.0)), 1e-6)
        worst = max(worst, float(np.abs(one - other).max(initial=0.0)) / scale)
    return worst


def resized(spec: GraphSpec, factor: int) -> dict[str, Tensor]:
    """Return inputs with other values whose varying axes are `factor` times as long.

    Factor 1 stands for the shortest lengths the graph takes.
    """
    inputs = {}
    for name, tensor in spec.inputs.items():
        value = tensor
        for axis, dim in spec.dynamic[name].items():
            size = tensor.shape[axis]
            index = torch.arange(size * factor if factor > 1 else dim.min) % size
            value = value.index_select(axis, index)
        inputs[name] = value.roll(1) if value.is_floating_point() else value
    return inputs


def _num_fixed(module: torch.nn.Module) -> int:
    """Return how many parameters `forward` has before its *args, `self` not counted."""
    return int(type(module).forward.__code__.co_argcount) - 1
