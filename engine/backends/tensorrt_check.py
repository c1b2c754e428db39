"""The acceptance of a GPU machine: find the device, build, compare with the CPU, time a step.

For `sovits-live doctor --gpu-check`; every step that cannot be taken ends the list with its reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from engine.backends.base import Backend, ChoosingDecoder
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.registry import create_backend
from engine.backends.tensorrt_device import Device
from engine.backends.tensorrt_semantic import row_counts
from engine.config import EngineConfig
from engine.errors import SovitsError
from engine.noise import ExponentialDraws
from engine.pack import load_pack
from engine.sampling import STEPS_WITHOUT_EOS, Draw, choose
from engine.types import FloatArray, SynthesisParams

_PHONEMES, _PROMPT = 40, 20  # of each sentence; no slot has fewer positions than 64
_STEPS = 50
_MAX_LOGIT_ERROR = 0.05  # of the largest logit: what fp16 leaves
_MAX_NOISE = 1e-3  # power of the decoder's difference to its signal: 30 dB


@dataclass(frozen=True, slots=True)
class GpuCheck:
    """One step of the acceptance."""

    name: str
    passed: bool
    detail: str


def gpu_check(config: EngineConfig) -> Iterator[GpuCheck]:
    """Yield the steps as they are done; the first that fails is the last.

    Args:
        config: What is to be served, so that its engines are there afterwards.
    """
    step = "device"
    try:
        device = Device()
        yield GpuCheck("device", True, f"{device.name} {device.capability}")
        step = "engines"
        assert config.pack is not None, "the fake backend has no engines"
        pack = load_pack(config.pack)
        started, free = time.monotonic(), device.free_memory()
        gpu = create_backend(config.backend, pack, config)
        taken = (free - device.free_memory()) / 1e6
        seconds = time.monotonic() - started
        yield GpuCheck("engines", True, f"there in {seconds:.0f} s, with caches {taken:.0f} MB")
        cpu = OnnxBackend(pack, replace(config, backend="onnxruntime", precision="fp32"))
        for step, take in _NETWORKS.items():
            check = GpuCheck(step, *take(gpu, cpu))
            yield check
            if not check.passed:
                return
    except SovitsError as error:
        yield GpuCheck(step, False, str(error))


def _logits(gpu: Backend, cpu: Backend) -> tuple[bool, str]:
    """Compare two sentences of different lengths, alone and side by side in the outermost slots."""
    worst = 0.0
    slots = sorted({0, gpu.semantic.num_slots - 1})
    both = (gpu.semantic, cpu.semantic)
    for slot in slots:
        ids, prompt = np.arange(_PHONEMES - slot % 8), np.arange(_PROMPT)
        worst = max(worst, _error(*(one.prefill(slot, ids, None, prompt) for one in both)))
    for step in range(_num_steps(gpu)):
        asked = slots[: 1 + step % 2]  # the first alone, then both
        tokens = np.array([step, step + 1][: len(asked)])
        worst = max(worst, _error(*(one.decode(asked, tokens) for one in both)))
    for slot in slots:
        for one in both:
            one.release(slot)
    return worst <= _MAX_LOGIT_ERROR, f"logits differ by {worst:.1e} at most"


def _error(found: FloatArray, expected: FloatArray) -> float:
    """Return the largest difference as a share of the largest logit; infinite if there is a NaN."""
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    return error if np.isfinite(error) else float("inf")


def _choices(gpu: Backend, _: Backend) -> tuple[bool, str]:
    """Choose tokens on the device, and on the host from the logits of the same steps."""
    semantic = gpu.semantic
    assert isinstance(semantic, ChoosingDecoder)
    slots = range(semantic.num_slots)
    for slot in slots:
        semantic.prefill(slot, np.arange(_PHONEMES), None, np.arange(_PROMPT))
    num_wrong = num_chosen = 0
    for step in range(0, _num_steps(gpu) - 1, 2):
        tokens = np.full(len(slots), step)
        draws = [_draw(gpu, slot, step) for slot in slots]
        semantic.decode(slots, tokens)  # what is rewound is fewer than what was given
        found = semantic.choose(slots, tokens, draws)
        for slot in slots:
            semantic.rewind(slot, 1)
        rows = semantic.decode(slots, tokens)
        expected = [choose(row, draw) for row, draw in zip(rows, draws, strict=True)]
        num_wrong += sum(one != two for one, two in zip(found, expected, strict=True))
        num_chosen += len(slots)
    for slot in slots:
        semantic.release(slot)
    return num_wrong == 0, f"{num_wrong} of {num_chosen} differ from the host's"


def _draw(gpu: Backend, slot: int, step: int) -> Draw:
    """Return a draw of parameters that differ from slot to slot."""
    params = SynthesisParams(top_p=1.0 if slot % 2 else 0.8, temperature=1.0 + slot % 3 / 4)
    noise = ExponentialDraws(slot, 0, step, gpu.config.t2s.vocab_size)
    return Draw(params, np.arange(step), step >= STEPS_WITHOUT_EOS, noise)


def _num_steps(gpu: Backend) -> int:
    return min(_STEPS, gpu.semantic.max_positions - _PHONEMES - _PROMPT)


def _decoder(gpu: Backend, cpu: Backend) -> tuple[bool, str]:
    acoustic = cpu.acoustic
    rng = np.random.default_rng(1)
    style = rng.standard_normal(cpu.config.acoustic.gin_dim, np.float32)
    channels = acoustic.latent_dim + acoustic.source_rows
    latent = np.abs(rng.standard_normal((channels, 60), np.float32))
    one, two = (backend.acoustic.decoder(latent, style) for backend in (gpu, cpu))
    noise = float(np.square(one - two).mean() / max(float(np.square(two).mean()), 1e-12))
    return noise <= _MAX_NOISE, f"noise to signal {noise:.1e}"


def _step_time(gpu: Backend, _: Backend) -> tuple[bool, str]:
    """Time a step and its choice, of every number of rows they were captured for."""
    semantic, found = gpu.semantic, []
    assert isinstance(semantic, ChoosingDecoder)
    for rows in row_counts(semantic.num_slots):
        slots = range(rows)
        for slot in slots:
            semantic.prefill(slot, np.arange(_PHONEMES), None, np.arange(_PROMPT))
        times = []
        for step in range(_num_steps(gpu)):
            started = time.perf_counter()
            draws = [_draw(gpu, slot, step) for slot in slots]
            semantic.choose(slots, np.full(rows, step), draws)
            times.append(time.perf_counter() - started)
        for slot in slots:
            semantic.release(slot)
        found.append(f"{rows}: {np.median(times[len(times) // 5 :]) * 1e3:.2f}")
    return True, f"median of rows: ms, {', '.join(found)}"


_NETWORKS = {"T2S": _logits, "choice": _choices, "decoder": _decoder, "step time": _step_time}
