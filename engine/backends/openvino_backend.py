"""The OpenVINO backend: the acoustic graphs in OpenVINO, everything else in ONNX Runtime.

OpenVINO runs the decoder in bfloat16 where the processor has it (AMX, AVX512-BF16), at half the
time of float32; ONNX Runtime has no such kernels. The T2S gains nothing there, and its slots rely
on the order of sums in ONNX Runtime, so it stays. `describe` says which precision was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openvino

from engine.backends.onnx_acoustic import OnnxAcoustic
from engine.backends.onnx_backend import ACOUSTIC_GRAPHS, OnnxBackend, acoustic_sizes
from engine.backends.registry import BackendOptions
from engine.errors import CheckpointError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.pack import Pack
from engine.types import Array

_HALF = "decoder"  # nine tenths of the operations, and the only graph where rounding cannot add up


class OpenvinoGraph:
    """A compiled graph with the interface of an ONNX Runtime session, as far as it is used."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def run(self, names: None, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs in order, as copies."""
        del names
        results = self._request.infer(dict(inputs))
        return [results[output].copy() for output in self._compiled.outputs]


class OpenvinoBackend(OnnxBackend):
    """See `Backend` and the module docstring."""

    def _open_acoustic(
        self, pack: Pack, manifest: ExportManifest, options: BackendOptions
    ) -> OnnxAcoustic:
        """See `OnnxBackend`.

        Raises:
            CheckpointError: As there, or OpenVINO cannot read a graph.
        """
        core = openvino.Core()
        self._half = has_bfloat16(core)
        folder = pack.path / "onnx"
        weights = GraphWeights(pack)
        graphs: dict[str, Any] = {}
        for name in ACOUSTIC_GRAPHS:
            record = manifest.record(name, "fp32")
            blob = whole_model(check_file(folder, record), weights.load(record.weights))
            half = self._half and name == _HALF
            graphs[name] = compile_graph(
                core, blob, name, threads=options.acoustic_threads, half=half
            )
        return OnnxAcoustic(acoustic_sizes(pack.config, manifest), **graphs)

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {
            **super().describe(),
            "backend": "openvino",
            "acoustic_runtime": f"openvino {openvino.__version__}",
            "decoder_precision": "bf16" if self._half else "fp32",
        }


def create(pack: Pack, options: BackendOptions) -> OpenvinoBackend:
    """Make the backend; the registry calls this."""
    return OpenvinoBackend(pack, options)


def has_bfloat16(core: Any) -> bool:
    """Tell whether the processor computes in bfloat16 itself."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def whole_model(path: Any, weights: Mapping[str, Array]) -> bytes:
    """Return an exported graph with its weights, as OpenVINO reads it."""
    import onnx
    import onnx.numpy_helper

    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    blob: bytes = model.SerializeToString()
    return blob


def compile_graph(core: Any, blob: bytes, name: str, *, threads: int, half: bool) -> OpenvinoGraph:
    """Return a compiled graph.

    Args:
        half: Compute in bfloat16; inputs and outputs stay float32.

    Raises:
        CheckpointError: OpenVINO cannot read or compile it.
    """
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        return OpenvinoGraph(core.compile_model(core.read_model(blob), "CPU", settings))
    except RuntimeError as error:
        raise CheckpointError(f"OpenVINO cannot open graph {name}: {error}") from error
