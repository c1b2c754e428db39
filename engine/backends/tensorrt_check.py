"""The acceptance of a GPU machine: find the device, build, compare with the CPU, time a step.

For `sovits-live doctor --gpu-check`; every step that cannot be taken ends the list with its reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from engine.backends.base import Backend
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.tensorrt_backend import TensorrtBackend
from engine.backends.tensorrt_device import Device
from engine.config import EngineConfig
from engine.errors import SovitsError
from engine.pack import Pack

_STEPS = 50
_MAX_LOGIT_ERROR = 0.05  # of the largest logit: what fp16 leaves
_MAX_NOISE = 1e-3  # power of the decoder's difference to its signal: 30 dB


@dataclass(frozen=True, slots=True)
class GpuCheck:
    """One step of the acceptance."""

    name: str
    passed: bool
    detail: str


def gpu_check(pack: Pack, flavour: str = "tensorrt_rtx") -> Iterator[GpuCheck]:
    """Yield the steps as they are done; the first that fails is the last."""
    config = EngineConfig(backend=flavour, pack=pack.path, num_slots=4, max_positions=512)
    try:
        device = Device()
        yield GpuCheck("device", True, f"{device.name} {device.capability}")
        started = time.monotonic()
        gpu = TensorrtBackend(pack, config, flavour=flavour)
        yield GpuCheck("engines", True, f"built or found in {time.monotonic() - started:.0f} s")
        cpu = OnnxBackend(pack, replace(config, backend="onnxruntime"))
        for check in (_logits(gpu, cpu), _decoder(gpu, cpu), _step_time(gpu)):
            yield check
            if not check.passed:
                return
    except SovitsError as error:
        yield GpuCheck(type(error).__name__, False, str(error))


def _logits(gpu: Backend, cpu: Backend) -> GpuCheck:
    worst = 0.0
    ids, prompt = np.arange(40), np.arange(20)
    rows = [backend.semantic.prefill(0, ids, None, prompt) for backend in (gpu, cpu)]
    for step in range(_STEPS):
        worst = max(worst, float(np.abs(rows[0] - rows[1]).max() / np.abs(rows[1]).max()))
        rows = [b.semantic.decode([0], np.array([step]))[0] for b in (gpu, cpu)]
    for backend in (gpu, cpu):
        backend.semantic.release(0)
    return GpuCheck("T2S", worst <= _MAX_LOGIT_ERROR, f"logits differ by {worst:.1e} at most")


def _decoder(gpu: Backend, cpu: Backend) -> GpuCheck:
    acoustic = cpu.acoustic
    rng = np.random.default_rng(1)
    style = rng.standard_normal(cpu.config.acoustic.gin_dim, np.float32)
    channels = acoustic.latent_dim + acoustic.source_rows
    latent = np.abs(rng.standard_normal((channels, 60), np.float32))
    one, two = (backend.acoustic.decoder(latent, style) for backend in (gpu, cpu))
    noise = float(np.square(one - two).mean() / max(float(np.square(two).mean()), 1e-12))
    return GpuCheck("decoder", noise <= _MAX_NOISE, f"noise to signal {noise:.1e}")


def _step_time(gpu: Backend) -> GpuCheck:
    gpu.semantic.prefill(0, np.arange(40), None, np.arange(20))
    times = []
    for step in range(_STEPS):
        started = time.perf_counter()
        gpu.semantic.decode([0], np.array([step]))
        times.append(time.perf_counter() - started)
    gpu.semantic.release(0)
    median = float(np.median(times[_STEPS // 5 :]))
    return GpuCheck("step time", True, f"{median * 1e3:.2f} ms median, batch 1")
