"""The whole TensorRT backend: refused in words, over runtimes of the host, and on a GPU."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.backends import tensorrt_backend, tensorrt_graphs
from engine.backends.base import Backend
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.registry import create_backend
from engine.backends.tensorrt_build import BuildRequest
from engine.backends.tensorrt_device import Device
from engine.config import EngineConfig
from engine.errors import BackendUnavailable, CheckpointError, SovitsError
from engine.pack import Pack
from tests.host_cuda import HostCuda
from tests.host_tensorrt import host_tensorrt
from tests.micro_pack import micro_pack

CONFIG = EngineConfig(num_slots=3, max_positions=500)
GRAPHS = ["prefill", "step_in_place", "choose", "text", "prior", "flow", "decoder"]
STYLE = np.linspace(-1, 1, 16, dtype=np.float32)


def has_gpu() -> bool:
    try:
        Device()
    except SovitsError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    """Before anything is compiled; there is no fallback to the CPU."""
    for name in ("tensorrt", "tensorrt_rtx"):
        with pytest.raises(BackendUnavailable, match="tensorrt|CUDA"):
            create_backend(name, micro_pack(tmp_path / name), CONFIG)
    with pytest.raises(BackendUnavailable, match="no CUDA device|CUDA bindings cannot"):
        Device()


FLAVOURS = pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])


@FLAVOURS
def test_over_the_host_it_gives_the_cpu_s_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flavour: str
) -> None:
    """The graphs in half precision, profiles, buffers and copies are those of a GPU."""
    cuda, _ = host_tensorrt(monkeypatch)
    before = cuda.free
    pack = micro_pack(tmp_path)
    backend = create_backend(flavour, pack, CONFIG)
    assert backend.describe() == {
        "backend": flavour,
        "runtime": f"{flavour} 0.host",
        "device": "Host SM89",
        "precision": "fp16",
    }
    compare(backend, pack)
    assert cuda.free < before
    del backend
    gc.collect()
    assert cuda.free == before  # the check of a GPU makes two backends, one after the other


def test_every_graph_has_one_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second would copy the weights. Rows vary within it, the cache does not."""
    _, built = host_tensorrt(monkeypatch)
    create_backend("tensorrt_rtx", micro_pack(tmp_path), CONFIG)
    profiles = {graph_of(request): request.profiles for request in built}
    assert list(profiles) == GRAPHS
    assert all(len(one) == 1 for one in profiles.values())
    (step,) = profiles["step_in_place"]
    assert step["tokens"] == ((1,), (3,), (3,))
    assert step["key_0"] == ((1, 4, 500, 16), (3, 4, 500, 16), (3, 4, 500, 16))
    (prefill,) = profiles["prefill"]
    assert prefill["phoneme_ids"][2] == prefill["prompt_tokens"][2] == (1, 500)


def test_an_engine_is_built_anew_only_for_what_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots change the step, positions the T2S, the GPU everything, a second start nothing."""
    _, built = host_tensorrt(monkeypatch)
    pack = micro_pack(tmp_path)

    def graphs(flavour: str = "tensorrt_rtx", **sizes: int) -> list[str]:
        built.clear()
        create_backend(flavour, pack, replace(CONFIG, **sizes))
        return [graph_of(request) for request in built]

    assert graphs() == GRAPHS
    assert graphs() == []
    assert graphs(num_slots=2) == ["step_in_place", "choose"]
    assert graphs(max_positions=400) == ["prefill", "step_in_place"]
    assert graphs("tensorrt") == GRAPHS
    monkeypatch.setattr(HostCuda, "cudaGetDeviceProperties", other_gpu)
    assert graphs() == GRAPHS


def graph_of(request: BuildRequest) -> str:
    return Path(request.onnx).stem.removesuffix("-fp16")


def test_a_start_that_finds_its_engines_converts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official T2S takes seconds to be made half as precise."""
    host_tensorrt(monkeypatch)
    pack = micro_pack(tmp_path)
    create_backend("tensorrt_rtx", pack, CONFIG)

    def refuse(*given: object, **options: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(tensorrt_backend, "whole_graph", refuse)
    create_backend("tensorrt_rtx", pack, CONFIG)
    with pytest.raises(AssertionError, match="converted again"):
        create_backend("tensorrt_rtx", pack, replace(CONFIG, num_slots=2))


def test_a_newer_conversion_takes_the_place_of_the_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graph by graph; a server of other slots keeps what is its alone."""
    host_tensorrt(monkeypatch)
    pack = micro_pack(tmp_path)
    folder = pack.path / "cache" / "tensorrt"
    for slots in (2, 3):
        create_backend("tensorrt_rtx", pack, replace(CONFIG, num_slots=slots))
    before = {path.name for path in folder.iterdir()}
    assert len(before) == len(GRAPHS) + 2
    monkeypatch.setattr(tensorrt_graphs, "CONVERSION", 2)
    create_backend("tensorrt_rtx", pack, CONFIG)
    after = {path.name for path in folder.iterdir()}
    assert len(after) == len(before)
    kept = sorted(name.partition("-")[0] for name in after & before)
    assert kept == ["choose", "step_in_place"]


def other_gpu(cuda: HostCuda, device: int) -> tuple[int, SimpleNamespace]:
    return HostCuda.cudaGetDeviceCount(cuda)[0], SimpleNamespace(name=b"B", major=12, minor=0)


def refusal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[list[dict[str, Any]]], object],
) -> str:
    """Return why a pack is refused whose manifest's graphs were changed; nothing is compiled."""
    _, built = host_tensorrt(monkeypatch)
    pack = micro_pack(tmp_path)
    path = pack.path / "onnx" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["graphs"])
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError) as refused:
        create_backend("tensorrt", pack, CONFIG)
    assert not built
    return str(refused.value)


def test_a_pack_for_the_cpu_says_how_to_export_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is compiled."""

    def change(graphs: list[dict[str, Any]]) -> None:
        graphs[:] = [graph for graph in graphs if graph["graph"] != "step_in_place"]

    found = refusal(tmp_path, monkeypatch, change)
    assert re.search("sovits-live export .*micro --for tensorrt", found)


def test_a_pack_exported_before_tokens_were_chosen_on_the_device_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `choose` would make a token of NaN."""

    def change(graphs: list[dict[str, Any]]) -> None:
        for graph in graphs:
            graph["outputs"].pop("is_finite", None)

    found = refusal(tmp_path, monkeypatch, change)
    assert re.search("an older version.*export .*micro --for tensorrt", found)


@pytest.mark.gpu
@pytest.mark.timeout(1800)
@FLAVOURS
def test_a_gpu_gives_the_cpu_s_numbers(tmp_path: Path, flavour: str) -> None:
    """What the host's runtimes cannot show: kernels, captures, two streams."""
    pytest.importorskip(flavour)
    pack = micro_pack(tmp_path)
    compare(create_backend(flavour, pack, CONFIG), pack)


def compare(gpu: Backend, pack: Pack) -> None:
    """Compare logits of rows that come and go, prior, flow and decoder; fp16."""
    cpu = OnnxBackend(pack, CONFIG)
    for slot, length in ((0, 20), (2, 250)):
        ids, prompt = np.arange(length), np.arange(10)
        one, two = (b.semantic.prefill(slot, ids, None, prompt) for b in (gpu, cpu))
        np.testing.assert_allclose(one, two, atol=0.05)
    for step in range(30):
        tokens = np.array([step % 60, 3])
        one, two = (b.semantic.decode([0, 2], tokens) for b in (gpu, cpu))
        np.testing.assert_allclose(one, two, atol=0.05)
    texts = [b.acoustic.encode_text(np.arange(1, 20), STYLE) for b in (gpu, cpu)]
    stats = [
        b.acoustic.prior(np.arange(9), text) for b, text in zip((gpu, cpu), texts, strict=True)
    ]
    np.testing.assert_allclose(stats[0].mean, stats[1].mean, atol=0.05)
    np.testing.assert_allclose(stats[0].log_std, stats[1].log_std, atol=0.05)
    latent = np.random.default_rng(1).standard_normal((8, 40)).astype(np.float32)
    flowed = cpu.acoustic.flow(latent, STYLE)
    np.testing.assert_allclose(gpu.acoustic.flow(latent, STYLE), flowed, atol=0.05)
    one, two = (b.acoustic.decoder(flowed, STYLE) for b in (gpu, cpu))
    noise = float(np.square(one - two).mean() / np.square(two).mean())
    assert noise < 1e-3
