"""Packs of every official family, exported and compiled by TensorRT-RTX: no GPU is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.random_pack import random_pack
from engine.backends.tensorrt_build import BuildRequest, compile_engine, load_flavour, profile_of
from engine.backends.tensorrt_graphs import inputs_of, ranges_of, step_buckets, whole_graph
from engine.errors import BackendUnavailable
from engine.manifest import ExportManifest
from engine.pack import Pack, load_pack
from engine.paths import BUNDLED, DEFAULT
from export.export_pack import export_pack
from tests.tiny_packs import FAMILIES, tiny_pack

pytestmark = [pytest.mark.aot, pytest.mark.timeout(1800)]
RTX = "tensorrt_rtx"


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    """Skip where it is not installed."""
    torch.set_num_threads(1)
    try:
        load_flavour(RTX)
    except BackendUnavailable as error:
        pytest.skip(str(error))


def limits_of(pack: Pack, graph: str) -> dict[str, int]:
    """Return how long the inputs of this pack's networks may be."""
    config = pack.config
    most = config.t2s.max_positions
    if graph == "prefill":
        return {"phonemes": most, "tokens": most}
    if graph == "ssl":
        return {"frames": int(config.ssl.settings.get("max_frames", 1500))}
    if graph == "bert" and config.bert is not None:
        return {"length": int(config.bert.settings.get("max_position_embeddings", 512))}
    return {}


def compile_all(pack: Pack, folder: Path, precision: str) -> dict[str, int]:
    """Return the size of each graph's engine."""
    manifest = ExportManifest.load(pack.path / "onnx", pack_fingerprint=pack.fingerprint)
    sizes = {}
    for graph in dict.fromkeys(record.graph for record in manifest.graphs):
        onnx = whole_graph(pack, graph, folder / f"{graph}.onnx", precision=precision)
        inputs = inputs_of(onnx)
        if graph == "step":
            profiles = tuple(profile_of(inputs, bucket) for bucket in step_buckets(2, 256))
        else:
            profiles = (profile_of(inputs, ranges_of(graph, limits_of(pack, graph))),)
        engine = folder / f"{graph}.engine"
        sizes[graph] = compile_engine(BuildRequest(RTX, str(onnx), str(engine), profiles))
        engine.unlink()
        onnx.unlink()
    return sizes


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_official_packs_compile(fixtures_dir: Path, tmp_path: Path, family: str) -> None:
    """All graphs of speaking and enrolment, HuBERT, BERT and ERes2NetV2 among them."""
    pack = tiny_pack(fixtures_dir, tmp_path, family)
    export_pack(pack, int8=False)
    sizes = compile_all(pack, tmp_path, "fp16")
    assert {"prefill", "step", "prior", "flow", "decoder", "ssl", "bert"} <= set(sizes)
    assert min(sizes.values()) > 1000


def test_nano_compiles(tmp_path: Path) -> None:
    """The bundled pack at its full size, in half precision."""
    sizes = compile_all(load_pack(BUNDLED / DEFAULT), tmp_path, "fp16")
    assert {"prefill", "step", "prior", "flow", "decoder", "ssl", "speaker"} <= set(sizes)


@pytest.mark.full_size
@pytest.mark.parametrize("family", FAMILIES)
def test_full_size_packs_compile(tmp_path: Path, family: str) -> None:
    """Random weights of the real sizes; minutes and some 5 GB of memory each."""
    sizes = compile_all(random_pack(family, tmp_path), tmp_path, "fp16")
    assert sizes["step"] > 100_000_000
