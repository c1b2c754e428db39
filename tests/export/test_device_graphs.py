"""The graphs of a KV cache that stays on its device, run over shared buffers on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from engine.backends.onnx_device_semantic import OnnxDeviceSemantic
from engine.backends.onnx_semantic import OnnxSemantic
from engine.backends.onnx_session import open_session
from engine.backends.tensorrt_build import (
    BuildRequest,
    Range,
    compile_engine,
    load_flavour,
    profile_of,
)
from engine.backends.tensorrt_graphs import inputs_of
from engine.backends.torch_weights import load_weights
from engine.errors import BackendUnavailable, EngineFailed
from engine.graph_weights import GraphWeights
from engine.manifest import GraphRecord
from engine.models.t2s import T2S
from engine.pack import Pack, Part
from engine.types import IntArray
from export.graphs import device_graphs, t2s_graphs
from export.share_weights import WeightIndex
from export.to_onnx import export_graph
from tests.micro_pack import CONFIG, bare_pack

pytestmark = [pytest.mark.export, pytest.mark.timeout(600)]
CAPACITY = 128


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Mapping[str, GraphRecord]]:
    """A pack whose T2S graphs lie in its folder, with their records."""
    torch.set_num_threads(1)
    pack = bare_pack(tmp_path_factory.mktemp("pack"))
    network = T2S(CONFIG.t2s)
    load_weights(network, pack.tensors(Part.T2S), Part.T2S)
    network = network.eval().requires_grad_(False)
    index, weights = WeightIndex(pack, (Part.T2S,)), GraphWeights(pack)
    specs = [*t2s_graphs(network, CONFIG), *device_graphs(network, CONFIG)]
    return pack, {spec.name: export_graph(spec, pack.path, index, weights) for spec in specs}


def sessions(
    exported: tuple[Pack, Mapping[str, GraphRecord]], *names: str
) -> list[ort.InferenceSession]:
    pack, records = exported
    weights = GraphWeights(pack)
    return [
        open_session(
            pack.path / records[name].file,
            threads=1,
            initializers=weights.load(records[name].weights),
        )
        for name in names
    ]


def on_device(exported: tuple[Pack, Mapping[str, GraphRecord]]) -> OnnxDeviceSemantic:
    prefill, step, fill = sessions(exported, "prefill", "step_in_place", "fill")
    return OnnxDeviceSemantic(
        CONFIG.t2s, prefill, step, fill, num_slots=3, max_positions=CAPACITY, device="cpu"
    )


def reference(exported: tuple[Pack, Mapping[str, GraphRecord]]) -> OnnxSemantic:
    prefill, step = sessions(exported, "prefill", "step")
    return OnnxSemantic(CONFIG.t2s, prefill, step, num_slots=3, max_positions=CAPACITY)


def greedy(decoder: OnnxDeviceSemantic | OnnxSemantic, slot: int, steps: int) -> list[int]:
    rng = np.random.default_rng(slot)
    logits = decoder.prefill(slot, rng.integers(0, 500, 9 + slot), None, rng.integers(0, 60, slot))
    tokens = []
    for _ in range(steps):
        tokens.append(int(logits.argmax()))
        logits = decoder.decode([slot], np.array(tokens[-1:]))[0]
    return tokens


def test_sixty_steps_over_shared_buffers_give_the_same_tokens(
    exported: tuple[Pack, Mapping[str, GraphRecord]],
) -> None:
    """Inputs and outputs of every layer are one memory; nothing but three numbers goes in."""
    assert greedy(on_device(exported), 0, 60) == greedy(reference(exported), 0, 60)


def test_rows_do_not_disturb_each_other(exported: tuple[Pack, Mapping[str, GraphRecord]]) -> None:
    """Slots are filled, stepped alone, together, rewound and released in any order."""
    found, expected = on_device(exported), reference(exported)
    rng = np.random.default_rng(5)
    phonemes = [rng.integers(0, 500, size) for size in (30, 7, 18)]

    def both(slots: list[int], tokens: IntArray) -> None:
        one, two = (decoder.decode(slots, tokens) for decoder in (found, expected))
        np.testing.assert_allclose(one, two, atol=1e-4)

    for slot in (2, 0):
        for decoder in (found, expected):
            decoder.prefill(slot, phonemes[slot], None, np.arange(slot))
    both([2], np.array([5]))
    both([0, 2], np.array([6, 7]))
    for decoder in (found, expected):
        decoder.prefill(1, phonemes[1], None, np.arange(3))
        decoder.rewind(2, 2)
    both([2, 1, 0], np.array([8, 9, 10]))
    for decoder in (found, expected):
        decoder.release(0)
        decoder.prefill(0, phonemes[1], None, np.arange(4))
    for step in range(4):
        both([0, 1, 2], np.array([step, step + 1, step + 2]))


def test_a_full_slot_is_refused(exported: tuple[Pack, Mapping[str, GraphRecord]]) -> None:
    """Before anything is written."""
    decoder = on_device(exported)
    decoder.prefill(0, np.arange(CAPACITY - 1), None, np.arange(0))
    decoder.decode([0], np.array([1]))
    with pytest.raises(EngineFailed, match="full"):
        decoder.decode([0], np.array([1]))


def test_the_cache_is_written_by_tensor_scatter(
    exported: tuple[Pack, Mapping[str, GraphRecord]],
) -> None:
    """Once for the keys and once for the values of each layer; nothing else reads their values."""
    pack, records = exported
    graph = ir.load(pack.path / records["step_in_place"].file).graph
    writers = [node for node in graph if node.op_type == "TensorScatter"]
    assert len(writers) == 2 * CONFIG.t2s.num_layers
    assert records["step_in_place"].opset == 24
    for value in graph.inputs[3:]:
        readers = [use.node.op_type for use in value.uses() if use.node.op_type != "Shape"]
        assert readers == ["TensorScatter"]


@pytest.fixture(scope="module")
def compiler() -> Any:
    """Skip where TensorRT-RTX is not installed."""
    try:
        return load_flavour("tensorrt_rtx")
    except BackendUnavailable as error:
        pytest.skip(str(error))


def whole(exported: tuple[Pack, Mapping[str, GraphRecord]], graph: str, folder: Path) -> Path:
    """Write a graph with its weights and, as a KV-cache update wants it, a fixed capacity."""
    pack, records = exported
    model = onnx.load(pack.path / records[graph].file, load_external_data=False)
    weights = GraphWeights(pack).load(records[graph].weights)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "capacity":
                dim.dim_value = CAPACITY
    del model.graph.value_info[:]
    path = folder / f"{graph}.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.aot
@pytest.mark.parametrize("graph", ["step_in_place", "fill", "choose"])
def test_tensorrt_compiles_them(
    compiler: Any, exported: tuple[Pack, Mapping[str, GraphRecord]], tmp_path: Path, graph: str
) -> None:
    """With a cache of a fixed capacity."""
    path = whole(exported, graph, tmp_path)
    ranges = {
        "rows": Range(1, 2, 4),
        "capacity": Range(CAPACITY, CAPACITY, CAPACITY),
        "length": Range(1, 32, CAPACITY),
    }
    engine = tmp_path / "e"
    request = BuildRequest(
        "tensorrt_rtx", str(path), str(engine), (profile_of(inputs_of(path), ranges),)
    )
    assert compile_engine(request) == engine.stat().st_size


@pytest.mark.aot
def test_the_scatter_is_a_kv_cache_update(
    compiler: Any, exported: tuple[Pack, Mapping[str, GraphRecord]], tmp_path: Path
) -> None:
    """TensorRT's own layer for it, for the keys and the values of each layer."""
    logger = compiler.Logger(compiler.Logger.ERROR)
    builder = compiler.Builder(logger)
    network = builder.create_network(0)
    parser = compiler.OnnxParser(network, logger)
    assert parser.parse_from_file(str(whole(exported, "step_in_place", tmp_path)))
    kinds = [network.get_layer(place).type.name for place in range(network.num_layers)]
    assert kinds.count("KV_CACHE_UPDATE") == 2 * CONFIG.t2s.num_layers
