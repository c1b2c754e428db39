"""Opening graphs: a provider that is not there, a graph that cannot run, weights set free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends.onnx_session import open_session, run
from engine.errors import BackendUnavailable, CheckpointError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.pack import Pack
from engine.types import Array


def step(pack: Pack, precision: str = "fp32") -> tuple[Path, dict[str, Array]]:
    folder = pack.path / "onnx"
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    record = manifest.record("step", precision)
    return folder / record.file, GraphWeights(pack).load(record.weights)


def inputs(num_rows: int) -> dict[str, Array]:
    past = np.ones((num_rows, 4, 8, 16), np.float32)
    return {
        "tokens": np.arange(num_rows),
        "position": np.arange(num_rows),
        "mask": np.zeros((num_rows, 8), np.float32),
        **{f"{kind}_{layer}": past for kind in ("key", "value") for layer in range(2)},
    }


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_provider_that_is_not_active_is_an_error(micro: Pack) -> None:
    """ONNX Runtime would go on with the CPU and only print a line."""
    path, weights = step(micro)
    with pytest.raises(BackendUnavailable, match=r"CUDA.*active: CPU.*sovits-live\[gpu\]"):
        open_session(path, threads=1, provider="CUDAExecutionProvider", initializers=weights)


def test_a_graph_without_its_weights_does_not_open(micro: Pack) -> None:
    """The file says where they are to come from, and there is nothing there."""
    path, weights = step(micro)
    weights.popitem()
    with pytest.raises(CheckpointError, match="step.onnx: ONNX Runtime cannot open it"):
        open_session(path, threads=1, initializers=weights)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_may_go_once_the_graph_is_open(micro: Pack, precision: str) -> None:
    """The session has its own copy: overwriting the arrays changes nothing."""
    path, weights = step(micro, precision)
    session = open_session(path, threads=1, initializers=weights)
    before = run(session, inputs(2))
    for array in weights.values():
        array[...] = 99
    for one, other in zip(before, run(session, inputs(2)), strict=True):
        np.testing.assert_array_equal(one, other)
