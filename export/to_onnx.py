"""A GraphSpec to an ONNX file, compared with torch on other lengths than it was traced with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.manifest import GraphRecord, describe_tensors, hash_file
from engine.types import Array
from export.graphs import GraphSpec

OPSET = 20  # the newest that ONNX Runtime, OpenVINO and TensorRT all take for these graphs
# Sums run in another order; anything above this is a wrong graph, not rounding.
MAX_ERROR_FP32 = 2e-4


def export_graph(spec: GraphSpec, folder: Path) -> GraphRecord:
    """Write `folder/NAME.onnx` and return its record.

    Raises:
        CheckpointError: If the graph's outputs are not torch's.
    """
    path = folder / f"{spec.name}.onnx"
    # The exporter follows the call's structure: keyword-free, *args as one nested tuple.
    names = list(spec.inputs)
    shapes = [dict(spec.dynamic[name]) or None for name in names]
    fixed = _num_fixed(spec.module)
    dynamic: tuple[object, ...] = (*shapes[:fixed],)
    if len(shapes) > fixed:
        dynamic = (*dynamic, tuple(shapes[fixed:]))
    with warnings.catch_warnings():
        # torch's exporter warns about its own internals; our check below is what counts.
        warnings.simplefilter("ignore")
        for chatty in ("torch.onnx", "onnx_ir", "onnxscript"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        torch.onnx.export(
            spec.module,
            tuple(spec.inputs.values()),
            path,
            input_names=names,
            output_names=list(spec.outputs),
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    outputs = run_torch(spec, spec.inputs)
    record = GraphRecord(
        graph=spec.name,
        precision="fp32",
        file=path.name,
        sha256=hash_file(path),
        num_bytes=path.stat().st_size,
        opset=OPSET,
        inputs=describe_tensors(spec.inputs),
        outputs=describe_tensors(dict(zip(spec.outputs, outputs, strict=True))),
        error=0.0,
    )
    error = compare(spec, path)
    if error > MAX_ERROR_FP32:
        raise CheckpointError(
            f"graph {spec.name} differs from torch by {error:.1e} (allowed {MAX_ERROR_FP32:.0e})"
        )
    return replace(record, error=error)


def compare(spec: GraphSpec, path: Path) -> float:
    """Return the largest relative error of the graph's outputs, on the traced and other lengths."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return max(
        relative_error(run_torch(spec, inputs), run_onnx(session, inputs))
        for inputs in (spec.inputs, _resized(spec, 1), _resized(spec, 3))
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
    """Return max |a - b| / max |b| over all outputs; integers must be equal."""
    worst = 0.0
    for one, other in zip(expected, actual, strict=True):
        if one.dtype.kind == "i":
            worst = max(worst, float(not np.array_equal(one, other)))
            continue
        scale = max(float(np.abs(one).max(initial=0.0)), 1e-6)
        worst = max(worst, float(np.abs(one - other).max(initial=0.0)) / scale)
    return worst


def _resized(spec: GraphSpec, factor: int) -> dict[str, Tensor]:
    """Return inputs with other values whose varying axes are `factor` times as long.

    Factor 1 stands for the shortest lengths the graph takes.
    """
    resized = {}
    for name, tensor in spec.inputs.items():
        value = tensor
        for axis, dim in spec.dynamic[name].items():
            size = tensor.shape[axis]
            index = torch.arange(size * factor if factor > 1 else dim.min) % size
            value = value.index_select(axis, index)
        resized[name] = value.roll(1) if value.is_floating_point() else value
    return resized


def _num_fixed(module: torch.nn.Module) -> int:
    """Return how many parameters `forward` has before its *args, `self` not counted."""
    return int(type(module).forward.__code__.co_argcount) - 1
