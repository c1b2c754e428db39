"""Packs of every official family, exported and compiled by TensorRT-RTX: no GPU is needed."""

from __future__ import annotations

import functools
import resource
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch

from bench.random_pack import random_pack
from engine.backends.tensorrt_build import load_flavour, profile_of
from engine.backends.tensorrt_cache import EngineCache
from engine.backends.tensorrt_graphs import inputs_of, ranges_of, takes_half, whole_graph
from engine.errors import BackendUnavailable
from engine.manifest import ExportManifest
from engine.model_config import HifiGanConfig
from engine.pack import Pack, load_pack
from engine.paths import BUNDLED, DEFAULT
from export.export_pack import export_pack
from tests.tiny_packs import FAMILIES, tiny_pack

pytestmark = [pytest.mark.aot, pytest.mark.timeout(1800)]
RTX = "tensorrt_rtx"
CAPACITY = 512
ON_DEVICE = {"step_in_place", "fill", "choose"}
SPEAKING = {"prefill", "step", "text", "prior", "flow", "decoder"} | ON_DEVICE
# What TensorRT lacks, or takes in some precisions only; randomness comes in as an input.
REFUSED = {
    *("NonZero", "Multinomial", "Bernoulli", "Unique", "DFT", "Hardmax", "GRU", "Loop", "If"),
    *("DynamicQuantizeLinear", "MatMulInteger", "MatMulNBits", "Attention"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
}
PRODUCTS = {"MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION"}


@dataclass(frozen=True)
class Compiled:
    """An engine that was built."""

    num_bytes: int
    seconds: float


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
    if graph == "fill":
        return {"length": CAPACITY}
    if graph == "ssl":
        return {"frames": int(config.ssl.settings.get("max_frames", 1500))}
    if graph == "bert" and config.bert is not None:
        return {"length": int(config.bert.settings.get("max_position_embeddings", 512))}
    return {}


def compile_all(pack: Pack, folder: Path, precision: str) -> dict[str, Compiled]:
    """Compile each graph as the backend does; every graph's layers are looked at on the way."""
    manifest = ExportManifest.load(pack.path / "onnx", pack_fingerprint=pack.fingerprint)
    cache = EngineCache(folder / "engines", flavour=RTX)
    found = {}
    for graph in dict.fromkeys(record.graph for record in manifest.graphs):
        fixed = {"capacity": CAPACITY} if graph in ("step_in_place", "fill") else None
        path = folder / f"{graph}.onnx"
        whole_graph(pack, graph, path, precision=precision, fixed=fixed)
        check_layers(pack, graph, path, precision)
        profile = profile_of(inputs_of(path), ranges_of(graph, limits_of(pack, graph)))
        started = time.monotonic()
        engine = cache.engine(graph, "a", (profile,), partial(shutil.copyfile, path))
        found[graph] = Compiled(engine.stat().st_size, time.monotonic() - started)
        engine.unlink()
        path.unlink()
    return found


def check_layers(pack: Pack, graph: str, path: Path, precision: str) -> None:
    """Refuse operators TensorRT lacks, precisions nobody asked for, and a cache that is copied."""
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert not operators & REFUSED, f"{graph}: {operators & REFUSED}"
    trt = load_flavour(RTX)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    fresh = builder.create_network(0)  # looking whether it is supported spoils a network
    parser = trt.OnnxParser(fresh, logger)
    assert parser.supports_model_v2(path.read_bytes()) and parser.num_subgraphs == 1, graph
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path)), graph
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    kinds = Counter(layer.type.name for layer in layers)
    assert not [kind for kind in kinds if kind.startswith("PLUGIN") or kind == "NON_ZERO"], graph
    made = {layer.get_output(0).dtype.name for layer in layers if layer.type.name in PRODUCTS}
    is_half = precision == "fp16" and takes_half(pack, graph)
    assert made <= {"HALF" if is_half else "FLOAT"}, f"{graph}: {made}"
    t2s = pack.config.t2s
    updates = 2 * t2s.num_layers if graph == "step_in_place" else 0
    assert kinds["KV_CACHE_UPDATE"] == updates, graph
    if graph in ("prefill", "step", "step_in_place"):
        assert kinds["SOFTMAX"] == t2s.num_layers, graph
    decoder = pack.config.acoustic.decoder
    if graph == "decoder" and isinstance(decoder, HifiGanConfig):
        assert kinds["DECONVOLUTION"] == 0  # written as plain convolutions (export.phases)


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_official_packs_compile(fixtures_dir: Path, tmp_path: Path, family: str) -> None:
    """All graphs of `--for tensorrt`, HuBERT, BERT and ERes2NetV2 among them."""
    pack = tiny_pack(fixtures_dir, tmp_path, family)
    export_pack(pack, int8=False, on_device=True)
    found = compile_all(pack, tmp_path, "fp16")
    assert SPEAKING | {"style", "codes", "ssl", "bert"} <= set(found)
    assert ("speaker" in found) == family.startswith("v2Pro")
    assert min(engine.num_bytes for engine in found.values()) > 1000


def test_nano_compiles(tmp_path: Path) -> None:
    """The graphs that are bundled, in half precision."""
    found = compile_all(load_pack(BUNDLED / DEFAULT), tmp_path, "fp16")
    assert SPEAKING | {"style", "codes", "ssl", "speaker"} <= set(found)


@pytest.mark.full_size
@pytest.mark.parametrize("family", FAMILIES)
def test_full_size_packs_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Random weights of the real sizes; what it takes is printed: pytest -s."""
    for_tensorrt = functools.partial(export_pack, int8=False, on_device=True)
    monkeypatch.setattr("export.export_pack.export_pack", for_tensorrt)
    started = time.monotonic()
    pack = random_pack(family, tmp_path)
    exported_s = time.monotonic() - started
    found = compile_all(pack, tmp_path, "fp16")
    for graph, engine in found.items():
        print(f"{family} {graph:<14}{engine.num_bytes / 1e6:8.1f} MB{engine.seconds:7.1f} s")
    total = sum(engine.seconds for engine in found.values())
    # Of this process: what it reports of a child includes what it was itself when it forked.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{family} exported in {exported_s:.0f} s, {len(found)} graphs compiled in {total:.0f} s, "
        f"peak {peak:.1f} GB beside the compiler's"
    )
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep for three runs
    assert set(found) >= SPEAKING
    # One profile: the half-precision weights of 77 million parameters, once.
    assert 100e6 < found["step_in_place"].num_bytes < 200e6
