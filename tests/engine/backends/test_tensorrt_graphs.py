"""What is known of a graph for TensorRT before it is made; what it computes is tested by use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends import tensorrt_graphs
from engine.backends.tensorrt_graphs import graph_inputs, graph_key, inputs_of, whole_graph
from engine.errors import CheckpointError, InvalidParameter
from engine.pack import Pack
from tests.micro_pack import micro_pack

GRAPHS = ["prefill", "step_in_place", "choose", "text", "prior", "flow", "decoder"]


@pytest.mark.parametrize("graph", GRAPHS)
def test_inputs_are_those_of_the_file_that_is_made_later(
    micro: Pack, tmp_path: Path, graph: str
) -> None:
    """Fixed axes included; other names stay."""
    fixed = {"capacity": 500}
    made = whole_graph(micro, graph, tmp_path / "g.onnx", precision="fp16", fixed=fixed)
    assert graph_inputs(micro, graph, fixed) == inputs_of(made)


def test_every_part_of_a_file_is_in_its_key(
    micro: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graph, precision, fixed axes, the way it is made, recipes of weights, the weights."""
    keys = [
        graph_key(micro, "step_in_place"),
        graph_key(micro, "prefill"),
        graph_key(micro, "step_in_place", precision="fp16"),
        graph_key(micro, "step_in_place", fixed={"capacity": 500}),
        graph_key(micro, "step_in_place", fixed={"capacity": 400}),
    ]
    with monkeypatch.context() as newer:
        newer.setattr(tensorrt_graphs, "CONVERSION", 2)
        keys.append(graph_key(micro, "step_in_place"))
    pack = micro_pack(tmp_path)
    assert graph_key(pack, "step_in_place") == keys[0]  # wherever the pack is
    path = pack.graphs_dir / "manifest.json"
    manifest = json.loads(path.read_text())
    graph = next(g for g in manifest["graphs"] if g["graph"] == "step_in_place")
    name = next(iter(graph["weights"]))
    graph["weights"][name] += " "
    path.write_text(json.dumps(manifest))
    keys.append(graph_key(pack, "step_in_place"))
    manifest["pack_fingerprint"] = "other"
    path.write_text(json.dumps(manifest))
    keys.append(graph_key(replace(pack, fingerprint="other"), "step_in_place"))
    assert len(set(keys)) == len(keys)


def test_a_graph_that_was_changed_has_no_key(tmp_path: Path) -> None:
    """Though its engine may be there; an unknown precision has none either."""
    pack = micro_pack(tmp_path)
    (pack.graphs_dir / "flow.onnx").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="flow.onnx was changed after its export"):
        graph_key(pack, "flow")
    with pytest.raises(InvalidParameter, match="valid: fp32, fp16"):
        graph_key(pack, "prior", precision="int8")
