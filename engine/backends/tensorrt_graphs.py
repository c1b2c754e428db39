"""A pack's graphs as TensorRT takes them: one file with its weights, in one precision.

The files of a pack name their weights instead of holding them (`engine.graph_weights`) and are
float32; TensorRT wants both in the file. These copies are intermediate: they are compiled and can
be made again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.backends.tensorrt_build import Range
from engine.errors import BackendUnavailable, InvalidParameter
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, GraphRecord, check_file
from engine.model_config import HarmonicConfig
from engine.pack import Pack

PRECISIONS = ("fp32", "fp16")
# Of `whole_graph`: raised when it, or a weight's recipe, makes another file of the same graph. What
# newer versions of the onnx packages write differently does not make an engine wrong.
CONVERSION = 1
# Frames of one decoder or flow call: a chunk with its halos; tokens of one prior call: a sentence.
_FRAMES, _TOKENS, _PHONEMES = Range(1, 128, 2048), Range(1, 64, 1024), Range(1, 64, 1024)
_CONTEXT = Range(0, 11, 32)  # frames of halo on one side
_ROWS = Range(1, 4, 256)
# Keys and values, as `export.graphs` names them.
_CACHE = re.compile(r"(new_)?(key|value)_\d+(_now)?|cache(_now)?|rows")
_AXES: Mapping[str, Mapping[str, Range]] = {
    "prefill": {"phonemes": Range(1, 128, 1024), "tokens": Range(0, 96, 1024)},
    "step": {"rows": _ROWS, "past": Range(1, 256, 2048)},
    "step_in_place": {"rows": _ROWS},  # of a cache whose capacity is fixed, see `whole_graph`
    "fill": {"rows": _ROWS, "length": Range(1, 256, 2048)},
    "choose": {"rows": _ROWS},
    "text": {"phonemes": _PHONEMES},
    "prior": {"phonemes": _PHONEMES, "tokens": _TOKENS},
    "flow": {"frames": _FRAMES},
    "decoder": {"before": _CONTEXT, "frames": _FRAMES, "after": _CONTEXT},
    "style": {"frames": Range(1, 400, 1600)},
    "codes": {"ssl_steps": Range(1, 100, 1500)},
    "ssl": {"frames": Range(1, 200, 1500), "samples": Range(800, 64000, 480000)},
    "speaker": {"windows": Range(1, 8, 64), "frames": Range(16, 400, 3000)},
    "bert": {"length": Range(2, 32, 512)},
}


def ranges_of(graph: str, config_max: Mapping[str, int] | None = None) -> dict[str, Range]:
    """Return the ranges of a graph's axes, cut to what the model can take.

    They are one profile: a second would hold a copy of the weights.

    Args:
        config_max: Axis -> the network's own maximum, such as an encoder's number of positions.

    Raises:
        InvalidParameter: Unknown graph.
    """
    if graph not in _AXES:
        raise InvalidParameter("graph", graph, ", ".join(_AXES))
    limits = config_max or {}
    return {
        axis: Range(
            found.min,
            min(found.opt, limits.get(axis, found.opt)),
            min(found.max, limits.get(axis, found.max)),
        )
        for axis, found in _AXES[graph].items()
    }


def takes_half(pack: Pack, graph: str) -> bool:
    """Tell whether a graph can be computed in float16.

    `choose` adds up a thousand probabilities. A harmonic decoder is given the phase of the voice
    and multiplies it by the number of each harmonic: nano's came out with a noise of 20 dB below.
    """
    is_harmonic = isinstance(pack.config.acoustic.decoder, HarmonicConfig)
    return graph != "choose" and not (graph == "decoder" and is_harmonic)


def whole_graph(
    pack: Pack,
    graph: str,
    target: Path,
    *,
    precision: str = "fp32",
    fixed: Mapping[str, int] | None = None,
) -> Path:
    """Write a graph with its weights to `target` and return it.

    Args:
        precision: Of the weights, the products and all keys and values; other inputs and outputs
            are float32 in both, and so is all of a graph that does not take half.
        fixed: Axis -> the size it has from now on. `step_in_place` needs one for `capacity`:
            TensorRT updates no cache that may grow.

    Raises:
        CheckpointError: The graph was not exported, or was changed.
        InvalidParameter: Unknown precision.
        BackendUnavailable: The onnx package is missing.
    """
    onnx = _onnx()
    record = _record(pack, graph, precision)
    model = onnx.load(check_file(pack.graphs_dir, record), load_external_data=False)
    weights = GraphWeights(pack).load(record.weights)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    if fixed:
        _fix_axes(model, fixed)
    if precision == "fp16" and takes_half(pack, graph):
        model = _to_half(model)
    onnx.save(model, target)
    return target


def graph_key(
    pack: Pack,
    graph: str,
    *,
    precision: str = "fp32",
    fixed: Mapping[str, int] | None = None,
) -> str:
    """Return the identity of the file `whole_graph` would write, hex, without making it.

    Raises:
        CheckpointError: The graph was not exported, or was changed.
        InvalidParameter: Unknown precision.
    """
    record = _record(pack, graph, precision)
    check_file(pack.graphs_dir, record)
    parts = {
        "conversion": CONVERSION,
        "graph": record.sha256,
        "weights": dict(record.weights),
        "pack": pack.fingerprint,
        "precision": precision,
        "fixed": dict(fixed or {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def graph_inputs(
    pack: Pack, graph: str, fixed: Mapping[str, int] | None = None
) -> dict[str, list[int | str]]:
    """Return `inputs_of` the file `whole_graph` would write, without making it.

    Raises:
        CheckpointError: The graph was not exported.
        BackendUnavailable: The onnx package is missing.
    """
    sizes = fixed or {}
    path = pack.graphs_dir / _record(pack, graph, "fp32").file
    return {
        name: [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]
        for name, dims in inputs_of(path).items()
    }


def inputs_of(path: Path) -> dict[str, list[int | str]]:
    """Return the inputs of an ONNX file with their axes: a number, or a name where they vary."""
    model = _onnx().load(path, load_external_data=False)
    return {
        value.name: [
            dim.dim_param or int(dim.dim_value) for dim in value.type.tensor_type.shape.dim
        ]
        for value in model.graph.input
    }


def _record(pack: Pack, graph: str, precision: str) -> GraphRecord:
    """Return what the manifest says of the graph that is converted to `precision`."""
    if precision not in PRECISIONS:
        raise InvalidParameter("precision", precision, ", ".join(PRECISIONS))
    manifest = ExportManifest.load(pack.graphs_dir, pack_fingerprint=pack.fingerprint)
    return manifest.record(graph, "fp32")


def _fix_axes(model: Any, fixed: Mapping[str, int]) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in fixed:
                dim.dim_value = fixed[dim.dim_param]
    del model.graph.value_info[:]  # the sizes inside follow from these


def _to_half(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    ends = [value.name for value in (*model.graph.input, *model.graph.output)]
    return convert_float_to_float16(
        model,
        # A cache and what is written into it are one memory: a cast between them would need two.
        keep_io_types=[name for name in ends if not _CACHE.fullmatch(name)],
        # Positions and comparisons stay as they are: float16 counts exactly only to 2048.
        op_block_list=["Range", "Where"],
    )


def _onnx() -> Any:
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise BackendUnavailable(
            f"TensorRT needs the onnx package ({error}); install it with: pip install "
            "'sovits-live[gpu]'"
        ) from error
    return onnx
