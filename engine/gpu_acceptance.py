"""The acceptance of a GPU machine, for `sovits-live doctor --gpu-check`: one command, all of it.

First the networks (`backends.tensorrt_check`: device, engines, parity with ONNX Runtime on the CPU,
step time), then the engine that stands on them: how soon a first chunk is there, and a soak of
sentences side by side, some of them cancelled, with a look at the memory of device and process.
Every step that fails ends the list with its reason.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engine.backends.tensorrt_check import GpuCheck, gpu_check
from engine.backends.tensorrt_device import Device
from engine.client import EngineClient
from engine.config import EngineConfig
from engine.errors import EngineFailed, InvalidParameter, SovitsError
from engine.thread_engine import ThreadEngine
from engine.types import Language, Phonemes, SentenceJob, Word

logger = logging.getLogger(__name__)

_CLAUSE_PHONEMES = 20  # ten Chinese characters
_FIRST_CHUNKS = 20
_CANCEL_EVERY = 5
_SPOKEN_S = 4.0  # of a sentence in the soak: a pack of random weights would never end
_MAX_GROWTH = 0.05  # of the free memory, between the first tenth of a soak and its end
FreeMemory = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Soak:
    """What a soak came to."""

    spoken: int
    cancelled: int
    failures: tuple[str, ...]
    growth: float  # share of the free memory that went after the first tenth of the time


def accept(config: EngineConfig, *, soak_s: float) -> Iterator[GpuCheck]:
    """Yield the steps as they are done; the first that fails is the last.

    Args:
        config: What is to be served; its backend is tensorrt or tensorrt_rtx.
        soak_s: How long to speak side by side.
    """
    for check in gpu_check(config):
        yield check
        if not check.passed:
            return
    device = Device()
    try:
        yield from asyncio.run(engine_checks(config, soak_s, device.free_memory))
    except SovitsError as error:
        yield GpuCheck("first chunk", False, str(error))


async def engine_checks(
    config: EngineConfig, soak_s: float, free_memory: FreeMemory
) -> list[GpuCheck]:
    """Return first chunk and soak of an engine.

    Raises:
        SovitsError: It does not start.
    """
    engine = ThreadEngine(config)
    await engine.start()
    try:
        if not engine.voices:
            raise InvalidParameter("voices", [], "a pack or a voices directory with a voice")
        times = [await first_chunk_s(engine, number) for number in range(_FIRST_CHUNKS)]
        low, middle, high = np.percentile(times, (0, 50, 95)) * 1e3
        detail = f"min {low:.1f}, median {middle:.1f}, p95 {high:.1f} ms, n={len(times)}"
        found = await soak(engine, soak_s, free_memory, listeners=config.num_slots)
    finally:
        await engine.close()
    passed = not found.failures and found.growth <= _MAX_GROWTH
    said = f"{found.spoken} spoken, {found.cancelled} cancelled, memory {found.growth:+.1%}"
    if found.failures:
        said += f"; {len(found.failures)} failed: {found.failures[0]}"
    return [GpuCheck("first chunk", True, detail), GpuCheck("soak", passed, said)]


async def first_chunk_s(engine: EngineClient, number: int) -> float:
    """Return the seconds from a ten-character sentence to its first chunk; the rest is cancelled.

    Raises:
        EngineFailed: It ended without one.
    """
    began = time.perf_counter()
    async with engine.synthesize(_job(engine, number)) as chunks:
        async for _ in chunks:
            return time.perf_counter() - began
    raise EngineFailed("a sentence ended without audio")


async def soak(
    engine: EngineClient, seconds: float, free_memory: FreeMemory, *, listeners: int
) -> Soak:
    """Speak side by side for so long; every fifth sentence is cancelled at its first chunk."""
    ends = time.monotonic() + seconds
    counts = {"spoken": 0, "cancelled": 0}
    failures: list[str] = []

    async def listener(place: int) -> None:
        for turn in itertools.count(1):
            if time.monotonic() >= ends:
                return
            is_cancelled = (place + turn) % _CANCEL_EVERY == 0
            number = place + turn * listeners
            try:
                await _listen(engine, number, 0.0 if is_cancelled else _SPOKEN_S)
            except SovitsError as error:
                logger.warning("soak: sentence %d failed: %s", number, error)
                failures.append(str(error))
                return
            counts["cancelled" if is_cancelled else "spoken"] += 1

    tasks = [asyncio.create_task(listener(place)) for place in range(listeners)]
    await asyncio.sleep(seconds / 10)
    settled = free_memory()
    await asyncio.gather(*tasks)
    growth = (settled - free_memory()) / max(settled, 1)
    return Soak(counts["spoken"], counts["cancelled"], tuple(failures), growth)


async def _listen(engine: EngineClient, number: int, seconds: float) -> None:
    """Hear a sentence until so much audio is there."""
    heard_s = 0.0
    async with engine.synthesize(_job(engine, number)) as chunks:
        async for chunk in chunks:
            if not np.isfinite(chunk.samples).all():
                raise EngineFailed("audio that is not finite")
            heard_s += len(chunk.samples) / chunk.sample_rate_hz
            if heard_s >= seconds:
                return
    if not heard_s:
        raise EngineFailed("a sentence ended without audio")


def _job(engine: EngineClient, number: int) -> SentenceJob:
    ids = np.random.default_rng(number).integers(1, 300, _CLAUSE_PHONEMES)
    phonemes = Phonemes(ids, ("x",) * len(ids), (Word("", Language.ZH, len(ids), 0, 0),), "")
    return SentenceJob(number + 1, f"check{number}", 0, phonemes, next(iter(engine.voices)))
