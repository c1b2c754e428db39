"""Initializers found again among a pack's tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from engine.graph_weights import GraphWeights
from engine.models.acoustic import AcousticNetwork
from engine.models.t2s import T2S
from engine.pack import Pack, Part
from engine.types import Array
from export.share_weights import MIN_BYTES, WeightIndex, drop_notes, take_weights
from tests.micro_pack import CONFIG, bare_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return bare_pack(tmp_path_factory.mktemp("pack"))


def test_every_form_is_found_and_made_again(pack: Pack) -> None:
    """As stored, transposed, weight norm folded by torch, a table of positions."""
    tensors = pack.tensors(Part.T2S)
    index = WeightIndex(pack, (Part.T2S,))
    weight = tensors["layers.1.ffn_in.weight"]
    assert index.recipe(weight) == "copy t2s layers.1.ffn_in.weight"
    assert index.recipe(weight.T) == "transpose t2s layers.1.ffn_in.weight"
    table = T2S(CONFIG.t2s).token_position.table.numpy()
    recipe = index.recipe(table)
    assert recipe is not None and recipe.startswith("sinusoid 512 ")
    made = GraphWeights(pack).load({"table": recipe})["table"]
    np.testing.assert_allclose(made, table, atol=1e-6)
    assert index.recipe(weight + np.float32(1e-3)) is None
    network = AcousticNetwork(CONFIG.acoustic)
    weights = {n: torch.from_numpy(a) for n, a in pack.tensors(Part.ACOUSTIC).items()}
    network.load_state_dict(weights)
    network.prepare_inference()
    folded = network.state_dict()["decoder.stages.0.blocks.0.dilated.0.weight"].numpy()
    found = WeightIndex(pack, (Part.ACOUSTIC,)).recipe(folded)
    assert found is not None and found.startswith("weight_norm acoustic decoder.stages.0.blocks.0")


def graph_of(**initializers: Array) -> ir.Model:
    values = [
        ir.val(name, const_value=ir.tensor(array, name=name))
        for name, array in initializers.items()
    ]
    node = ir.node("Identity", [values[0]], doc_string="made in /home/me")
    node.metadata_props["stack"] = "/home/me/x.py"
    graph = ir.Graph([], [node.outputs[0]], nodes=[node], initializers=values, name="g")
    return ir.Model(graph, ir_version=10)


def test_what_the_pack_holds_leaves_the_graph(pack: Pack, tmp_path: Path) -> None:
    """Small and unknown tensors stay; the others are references of the same shape."""
    weight = pack.tensors(Part.T2S)["head.weight"]
    other = np.arange(MIN_BYTES, dtype=np.float32)
    model = graph_of(head=weight, small=weight[0, :4], other=other)
    recipes = take_weights(model, WeightIndex(pack, (Part.T2S,)))
    assert recipes == {"head": "copy t2s head.weight"}
    ir.save(model, tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx").stat().st_size < other.nbytes + 1000
    head = ir.load(tmp_path / "g.onnx").graph.initializers["head"].const_value
    assert isinstance(head, ir.ExternalTensor) and tuple(head.shape) == weight.shape


def test_nothing_of_this_machine_stays(pack: Pack, tmp_path: Path) -> None:
    """Exporters write stacks with paths into every node."""
    model = graph_of(x=np.zeros(2, np.float32))
    drop_notes(model)
    ir.save(model, tmp_path / "g.onnx")
    assert b"/home/me" not in (tmp_path / "g.onnx").read_bytes()
