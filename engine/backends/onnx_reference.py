"""The enrolment graphs; each opens when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import onnxruntime as ort

from engine.backends.onnx_session import run
from engine.backends.reference import Reference
from engine.pack import Pack
from engine.types import Array, FloatArray, IntArray


class OnnxNetworks:
    """See `ReferenceNetworks`."""

    def __init__(self, open_graph: Callable[[str], ort.InferenceSession]) -> None:
        self._open_graph = open_graph
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def ssl(self, inputs: FloatArray) -> FloatArray:
        """See `ReferenceNetworks.ssl`."""
        features: FloatArray = self._run("ssl", inputs[None])[0]
        return features

    def codes(self, features: FloatArray) -> IntArray:
        """See `ReferenceNetworks.codes`; an odd last frame makes no token."""
        even = features.shape[1] // 2 * 2
        tokens: IntArray = self._run("codes", features[None, :, :even])[0]
        return tokens

    def speaker(self, inputs: FloatArray) -> FloatArray:
        """See `ReferenceNetworks.speaker`."""
        if inputs.ndim == 3:
            return self._run("speaker", inputs)
        embedding: FloatArray = self._run("speaker", inputs[None])[0]
        return embedding

    def style(self, spec: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """See `ReferenceNetworks.style`."""
        inputs = [spec[None]] if embedding is None else [spec[None], embedding[None]]
        style: FloatArray = self._run("style", *inputs)[0]
        return style

    def bert(self, ids: IntArray) -> FloatArray:
        """See `ReferenceNetworks.bert`."""
        rows: FloatArray = self._run("bert", ids[None])[0]
        return rows

    def _run(self, graph: str, *inputs: Array) -> Array:
        """Run a graph of one output on its inputs in order."""
        with self._lock:
            session = self._sessions.get(graph)
            if session is None:
                session = self._sessions[graph] = self._open_graph(graph)
        names = [value.name for value in session.get_inputs()]
        return run(session, dict(zip(names, inputs, strict=True)))[0]


class OnnxReference(Reference):
    """The ReferenceEncoder of the ONNX Runtime backend."""

    def __init__(self, pack: Pack, open_graph: Callable[[str], ort.InferenceSession]) -> None:
        super().__init__(pack, OnnxNetworks(open_graph))
