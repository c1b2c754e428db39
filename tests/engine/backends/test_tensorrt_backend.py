"""The GPU side of the TensorRT backend: refused here in words, compared with the CPU on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends.onnx_backend import OnnxBackend
from engine.backends.registry import create_backend
from engine.backends.tensorrt_device import Device
from engine.config import EngineConfig
from engine.errors import BackendUnavailable, SovitsError
from tests.micro_pack import micro_pack

CONFIG = EngineConfig(num_slots=3, max_positions=500)
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


@pytest.mark.gpu
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
def test_a_gpu_gives_the_cpu_s_numbers(tmp_path: Path, flavour: str) -> None:
    """Logits across a growth of the cache, rows that come and go, flow and decoder; fp16."""
    pytest.importorskip(flavour)
    pack = micro_pack(tmp_path)
    gpu, cpu = create_backend(flavour, pack, CONFIG), OnnxBackend(pack, CONFIG)
    for slot, length in ((0, 20), (2, 250)):
        ids, prompt = np.arange(length), np.arange(10)
        one, two = (b.semantic.prefill(slot, ids, None, prompt) for b in (gpu, cpu))
        np.testing.assert_allclose(one, two, atol=0.05)
    for step in range(30):
        tokens = np.array([step % 60, 3])
        one, two = (b.semantic.decode([0, 2], tokens) for b in (gpu, cpu))
        np.testing.assert_allclose(one, two, atol=0.05)
    latent = np.random.default_rng(1).standard_normal((8, 40)).astype(np.float32)
    flowed = cpu.acoustic.flow(latent, STYLE)
    np.testing.assert_allclose(gpu.acoustic.flow(latent, STYLE), flowed, atol=0.05)
    one, two = (b.acoustic.decoder(flowed, STYLE) for b in (gpu, cpu))
    noise = float(np.square(one - two).mean() / np.square(two).mean())
    assert noise < 1e-3
