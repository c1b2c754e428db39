"""Whole packs exported and compared with torch; minutes, so only under `pytest -m export`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch

from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.errors import CheckpointError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, GraphRecord
from engine.model_config import HarmonicConfig, IstftConfig, ModelConfig
from engine.models.acoustic import init_random
from engine.pack import Pack, PackInfo, Part, write_pack
from export import to_onnx
from export.export_pack import export_pack
from export.graphs import acoustic_graphs
from export.share_weights import WeightIndex
from export.to_onnx import MAX_ERROR_FP32, export_graph
from tests.micro_pack import CONFIG, GRAPHS, bare_pack
from tests.tiny_packs import FAMILIES, tiny_pack

pytestmark = [pytest.mark.export, pytest.mark.timeout(1800)]
SPEAKING = {"prefill", "step", "text", "prior", "flow", "decoder", "style", "codes"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def check_records(manifest: ExportManifest) -> None:
    for record in manifest.graphs:
        limit = MAX_ERROR_FP32 if record.precision == "fp32" else 0.05
        assert 0 <= record.error <= limit, record.graph
        assert record.num_bytes < 200_000, record.graph


def shape_of(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in ("sha256", "error", "num_bytes")}


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in ir.load(path).graph)


def test_the_committed_graphs_are_the_exporter_s(tmp_path: Path) -> None:
    """Same inputs, outputs, weights and operators; else: python -m tests.micro_pack"""
    pack = bare_pack(tmp_path)
    seen: list[GraphRecord] = []
    manifest = export_pack(pack, on_device=True, on_graph=seen.append)
    check_records(manifest)
    assert list(manifest.graphs) == seen
    made = json.loads((pack.path / "onnx" / "manifest.json").read_text())
    kept = json.loads((GRAPHS / "manifest.json").read_text())
    assert list(map(shape_of, made["graphs"])) == list(map(shape_of, kept["graphs"]))
    assert made["numbers"] == kept["numbers"]
    for record in seen:
        assert operators(pack.path / "onnx" / record.file) == operators(GRAPHS / record.file)
    assert sorted(path.name for path in pack.path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_official_packs_export_whole(fixtures_dir: Path, tmp_path: Path, family: str) -> None:
    """Every graph is torch's at three lengths each, also HuBERT, BERT and ERes2NetV2."""
    pack = tiny_pack(fixtures_dir, tmp_path, family)
    manifest = export_pack(pack)
    check_records(manifest)
    expected = SPEAKING | {"ssl", "bert"} | ({"speaker"} if family.startswith("v2Pro") else set())
    assert {record.graph for record in manifest.graphs} == expected
    assert manifest.precisions("step") == manifest.precisions("bert") == ("fp32", "int8")
    assert "ConvTranspose" not in operators(pack.path / "onnx" / "decoder.onnx")
    recipes = manifest.record("decoder", "fp32").weights.values()
    assert any(recipe.startswith("phases 10 ") for recipe in recipes)
    create_backend("onnxruntime", pack, EngineConfig(num_slots=1))


@pytest.mark.parametrize(
    "decoder",
    [
        IstftConfig(frame_channels=16, channels=12, blocks=2, n_fft=480, hop=120),
        HarmonicConfig(frame_channels=16, frame_blocks=1, channels=12, blocks=1),
    ],
    ids=["istft", "harmonic"],
)
def test_nano_s_decoders_export(tmp_path: Path, decoder: IstftConfig | HarmonicConfig) -> None:
    """Flow (with the pitch row) and decoder (with the source rows)."""
    acoustic = replace(CONFIG.acoustic, n_fft=1024, style_bins=64, decoder=decoder)
    pack, network = acoustic_pack(tmp_path, replace(CONFIG, acoustic=acoustic))
    network.prepare_inference()
    index, weights = WeightIndex(pack, (Part.ACOUSTIC,)), GraphWeights(pack)
    for spec in acoustic_graphs(network):
        if spec.name in ("flow", "decoder"):
            assert export_graph(spec, tmp_path, index, weights).error <= MAX_ERROR_FP32


def test_a_graph_that_is_not_torch_s_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export fails with the error's size, and no folder appears."""
    pack = bare_pack(tmp_path)
    monkeypatch.setattr(to_onnx, "MAX_ERROR_FP32", 1e-12)
    with pytest.raises(CheckpointError, match="graph prefill differs from torch by .*1e-12"):
        export_pack(pack)
    assert not (pack.path / "onnx").exists()


def acoustic_pack(folder: Path, config: ModelConfig) -> tuple[Pack, Any]:
    network = init_random(config.acoustic, 1)
    parts = {
        Part.T2S: bare_pack(folder / "other").tensors(Part.T2S),
        Part.ACOUSTIC: {name: t.numpy() for name, t in network.state_dict().items()},
    }
    return write_pack(folder / "pack", PackInfo("decoder", ()), config, parts), network
