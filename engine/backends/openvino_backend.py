"""The OpenVINO backend: the decoder in OpenVINO, everything else in ONNX Runtime.

OpenVINO runs the decoder in bfloat16 where the processor has it (AMX, AVX512-BF16), at half the
time of float32; ONNX Runtime has no such kernels. The other graphs gain nothing there. They stay,
the T2S because its slots rely on the order of sums in ONNX Runtime, text, prior and flow because of
memory: a compiled graph holds its weights twice, and kernels and weights of every combination of
input lengths it has met. The decoder is therefore called with few (`engine.decoder_pieces`).
`describe` says which precision was taken.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import openvino

from engine.backends.onnx_acoustic import OnnxAcoustic
from engine.backends.onnx_backend import (
    ACOUSTIC_GRAPHS,
    OnnxBackend,
    acoustic_sizes,
    graph_opener,
)
from engine.backends.registry import BackendOptions
from engine.errors import CheckpointError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.pack import Pack
from engine.types import Array

# The frames of the second to fifth chunk of an utterance; longer ones are several calls.
_WIDTHS = (16, 28, 50)
_OURS = "decoder"  # nine tenths of the operations, and the only graph where rounding cannot add up


class OpenvinoGraph:
    """A compiled graph with the interface of an ONNX Runtime session, as far as it is used."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request serves one lane at a time

    def run(self, names: None, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs in order, as copies."""
        del names
        with self._lock:
            results = self._request.infer(dict(inputs))
            return [results[output].copy() for output in self._compiled.outputs]


class OpenvinoBackend(OnnxBackend):
    """See `Backend` and the module docstring."""

    def _open_acoustic(
        self, pack: Pack, manifest: ExportManifest, options: BackendOptions
    ) -> OnnxAcoustic:
        """See `OnnxBackend`.

        Raises:
            CheckpointError: As there, or OpenVINO cannot read the decoder.
        """
        self._half = has_bfloat16()
        threads = options.acoustic_threads
        open_graph = graph_opener(pack, manifest)
        graphs: dict[str, Any] = {
            name: open_graph(name, threads) for name in ACOUSTIC_GRAPHS if name != _OURS
        }
        record = manifest.record(_OURS, "fp32")
        weights = GraphWeights(pack).load(record.weights)
        blob = whole_model(check_file(pack.graphs_dir, record), weights)
        graphs[_OURS] = compile_graph(blob, _OURS, threads=threads, half=self._half)
        sizes = replace(acoustic_sizes(pack.config, manifest), decoder_widths=_WIDTHS)
        return OnnxAcoustic(sizes, **graphs)

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {
            **super().describe(),
            "backend": "openvino",
            "decoder_runtime": f"openvino {openvino.__version__}",
            "decoder_precision": "bf16" if self._half else "fp32",
        }


def create(pack: Pack, options: BackendOptions) -> OpenvinoBackend:
    """Make the backend; the registry calls this."""
    return OpenvinoBackend(pack, options)


@cache
def shared_core() -> Any:
    """Return this process' OpenVINO, which is never let go.

    Its CPU plugin replaces the signal stack of the thread that loads it, and unmaps that stack when
    it is destroyed, be it in another thread: the first one then dies of the next signal, SIGTERM
    too, without a word (2026.4; see tests/engine/backends/test_openvino_backend.py).
    """
    return openvino.Core()


def has_bfloat16() -> bool:
    """Tell whether the processor computes in bfloat16 itself."""
    return "BF16" in shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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


def compile_graph(blob: bytes, name: str, *, threads: int, half: bool) -> OpenvinoGraph:
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
        core = shared_core()
        return OpenvinoGraph(core.compile_model(core.read_model(blob), "CPU", settings))
    except RuntimeError as error:
        raise CheckpointError(f"OpenVINO cannot open graph {name}: {error}") from error
