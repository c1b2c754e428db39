"""ONNX Runtime sessions with the settings that measured best here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from engine.errors import BackendUnavailable, CheckpointError
from engine.model_config import T2SConfig
from engine.types import Array, FloatArray, IntArray

CPU = "CPUExecutionProvider"
# The first moves the factor of attention scores into the product, whose fast kernel for one row
# takes none: 2.3 ms of a 9.5 ms step against 0.9. The second makes one operator of a sum and its
# normalisation, 21 ms of a full-size prefill of 112 where the two take 5.
_HARMFUL = ["MatMulScaleFusion", "SkipLayerNormFusion"]


def open_session(
    path: Path,
    *,
    threads: int,
    provider: str = CPU,
    initializers: Mapping[str, Array] | None = None,
) -> ort.InferenceSession:
    """Open a graph.

    Args:
        threads: Of this session's own pool; 1 runs on the calling thread.
        provider: The execution provider that must really be active.
        initializers: The weights the file leaves out. They are copied: ONNX Runtime packs them
            for its kernels, and the arrays are free to go when this returns.

    Raises:
        BackendUnavailable: If the provider is not active: ONNX Runtime falls back in silence.
        CheckpointError: If it cannot run the graph.
    """
    options = session_options(threads)
    arrays = dict(initializers or {})
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    providers = [provider] if provider == CPU else [provider, CPU]
    try:
        options.add_external_initializers(list(arrays), values)
        session = ort.InferenceSession(
            str(path), options, providers=providers, disabled_optimizers=_HARMFUL
        )
    except Exception as error:  # its exceptions have no public base class
        raise CheckpointError(f"{path}: ONNX Runtime cannot open it ({error})") from error
    active = session.get_providers()[0]  # ONNX Runtime falls back to the CPU without an error
    if active != provider:
        raise BackendUnavailable(
            f"ONNX Runtime did not start {provider} (active: {active}); install a build that has "
            "it: pip install 'sovits-live[gpu]'"
        )
    return session


def session_options(threads: int) -> ort.SessionOptions:
    """Return the settings of every session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Spinning threads slow a shared machine by up to 28 times (two streams on two cores).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Lengths vary with every call: an arena of each session's own would keep, for ever, the most
    # that each of them ever needed. The C library's heap serves all sessions.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    return options


class PrefillInputs:
    """What a T2S prefill graph is given; one of a model without BERT has no input for it."""

    def __init__(self, names: Collection[str], config: T2SConfig) -> None:
        """Take the names of the graph's inputs."""
        self._has_bert = "bert" in names
        self._bert_dim = config.bert_dim

    def __call__(
        self, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> dict[str, Array]:
        """Return the inputs of one row by name; arguments as `SemanticDecoder.prefill`."""
        inputs: dict[str, Array] = {
            "phoneme_ids": phoneme_ids[None],
            "prompt_tokens": prompt_tokens[None],
        }
        if self._has_bert:
            none = np.zeros((self._bert_dim, len(phoneme_ids)), np.float32)
            inputs["bert"] = (none if bert is None else bert)[None]
        return inputs


def input_names(session: ort.InferenceSession) -> list[str]:
    """Return the names of a graph's inputs."""
    return [value.name for value in session.get_inputs()]


def run(session: ort.InferenceSession, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a graph on numpy arrays and return its outputs in order."""
    outputs: list[Array] = session.run(None, dict(inputs))
    return outputs
