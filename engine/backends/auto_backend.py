"""The faster of the CPU backends that are installed: ONNX Runtime, or OpenVINO for the decoder.

Asked for by name, `auto`; `describe` says which one it came to. The decoder is timed in both once
and the choice is kept beside that of the T2S's precision (`precision` "auto").
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from engine.backends.calibration import calibrated_runtime
from engine.backends.onnx_backend import OnnxBackend, graph_opener
from engine.backends.registry import BACKENDS, BackendOptions
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.pack import Pack
from engine.types import Array

_FRAMES = 48  # some chunk
_ROUNDS = 3


def create(pack: Pack, options: BackendOptions) -> OnnxBackend:
    """Make the backend; the registry calls this."""
    if any(importlib.util.find_spec(name) is None for name in BACKENDS["openvino"].packages):
        return OnnxBackend(pack, options)
    from engine.backends.openvino_backend import OpenvinoBackend

    manifest = ExportManifest.load(pack.graphs_dir, pack_fingerprint=pack.fingerprint)
    chosen = calibrated_runtime(
        pack.path / "cache",
        manifest,
        {name: version(name) for name in ("onnxruntime", "openvino")},
        lambda: time_decoders(pack, manifest, options.acoustic_threads),
        options.acoustic_threads,
    )
    return (OpenvinoBackend if chosen == "openvino" else OnnxBackend)(pack, options)


def time_decoders(pack: Pack, manifest: ExportManifest, threads: int) -> dict[str, float]:
    """Return the best CPU seconds of a decoder call in each runtime; rounds alternate."""
    from engine.backends.openvino_backend import compile_graph, has_bfloat16, whole_model

    record = manifest.record("decoder", "fp32")
    session = graph_opener(pack, manifest)("decoder", threads)
    path = check_file(pack.graphs_dir, record)
    blob = whole_model(path, GraphWeights(pack).load(record.weights))
    compiled = compile_graph(blob, "decoder", threads=threads, half=has_bfloat16())
    lengths = {"before": 0, "after": 0}  # context: a graph may take none
    inputs: dict[str, Array] = {}
    for value in session.get_inputs():
        length = lengths.get(value.name, _FRAMES)
        shape = [dim if isinstance(dim, int) else length for dim in value.shape]
        inputs[value.name] = np.ones(shape, np.float32)
    return _alternating(
        {
            "onnxruntime": lambda: session.run(None, inputs),
            "openvino": lambda: compiled.run(None, inputs),
        }
    )


def _alternating(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(1 + _ROUNDS):  # the first call allocates, and the best is taken
        for name, call in calls.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - started)
    return best
