"""A whole server in processes of its own, measured through its socket: what a listener gets.

Cold start is from the start of the process to `ready`; memory is that of the server and all its
children after speaking, as resident size (pages that processes share count once for each) and as
proportional size (they count once in all).
"""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.capacity import BUFFER_MS, largest
from bench.decode import AudioFormat
from bench.environment import Summary
from bench.load import Driver, Load, Outcome
from bench.processes import descendants
from bench.statistics import summarise
from bench.targets.base import Line, TargetConfig
from bench.targets.connect import opener
from bench.texts import load_corpus
from engine.errors import EngineFailed

CLAUSE = "今天天气真的非常不错。"  # ten characters
_READY_TIMEOUT_S = 120.0
_READY_TICK_S = 0.01
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of a process tree."""

    resident: float
    proportional: float


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    url: str
    pid: int
    start_s: float


@asynccontextmanager
async def serving(pack: Path, settings: Sequence[str], port: int) -> AsyncIterator[Running]:
    """Start a server, wait until it is ready, and stop it afterwards.

    Raises:
        EngineFailed: It ended or was not ready in time.
    """
    command = [sys.executable, "-m", "server.cli", "serve", "--port", str(port)]
    command += ["--pack", str(pack)]
    command += ["--set", "server.limits.measured_capacity=false"]  # late is measured, not refused
    command += [part for setting in settings for part in ("--set", setting)]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while not await asyncio.to_thread(_is_ready, port):
            if process.returncode is not None or time.perf_counter() - began > _READY_TIMEOUT_S:
                raise EngineFailed(f"the server did not start; try it: {' '.join(command)}")
            await asyncio.sleep(_READY_TICK_S)
        start_s = time.perf_counter() - began
        yield Running(f"ws://127.0.0.1:{port}", process.pid, start_s)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def memory_of(pid: int) -> Memory:
    """Return the memory of a process and its descendants."""
    resident = proportional = 0
    for member in descendants(pid):
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()[1:]
        )
        resident += int(fields["Rss"].split()[0])
        proportional += int(fields["Pss"].split()[0])
    return Memory(resident / 1000, proportional / 1000)


async def speak(
    server: Running, lines: Sequence[Line], load: Load, *, rate_hz: int = 24000
) -> Outcome:
    """Put a load on a server, in PCM: what is measured is the engine, not Opus."""
    config = TargetConfig(server.url, language="zh", format=AudioFormat("pcm_s16le", rate_hz))
    return await Driver(opener("native", config), lines, time.perf_counter).run(load)


async def first_packets(server: Running, repeats: int) -> Summary:
    """Return the seconds from a text of ten characters to its first packet, one after another."""
    # Stopped early: what comes later is no part of it.
    outcome = await speak(
        server, [Line((CLAUSE,), cancel_after_s=0.02)], Load(requests=repeats, warmups=2)
    )
    return Summary.of(_present([run.clocks.first_frame_s for run in outcome.runs], outcome))


def one_stream_lines(count: int) -> Sequence[str]:
    """Return the texts that `one_stream` speaks."""
    return load_corpus("zh-19").lines[:count]


async def one_stream(server: Running, repeats: int) -> Summary:
    """Return the real-time factor of one stream: seconds to the last packet, per second of audio.

    A sentence must end by itself: while its tokens are still being made they take a core.
    """
    lines = [Line((text,)) for text in one_stream_lines(repeats)]
    outcome = await speak(server, lines, Load(requests=repeats, warmups=1))
    found = [
        None if run.clocks.wall_s is None or not run.clocks.audio_s
        else run.clocks.wall_s / run.clocks.audio_s
        for run in outcome.runs
    ]  # fmt: skip
    return Summary.of(_present(found, outcome))


async def real_time_streams(server: Running, most: int) -> tuple[int, dict[int, int]]:
    """Return how many listeners at once hear no gap, and the gaps at each number tried."""
    gaps: dict[int, int] = {}
    lines = [Line((text,)) for text in load_corpus("zh-19").lines]

    async def holds(clients: int) -> bool:
        load = Load(clients=clients, requests=clients, warmups=0, listens=True)
        summary = summarise(await speak(server, lines, load))
        gaps[clients] = summary["underruns"][str(BUFFER_MS)]["gaps"] + len(summary["errors"])
        return not gaps[clients]

    return await largest(holds, most), gaps


def _present(values: Sequence[float | None], outcome: Outcome) -> list[float]:
    found = [value for value in values if value is not None]
    if not found:
        errors: Mapping[str, None] = dict.fromkeys(run.clocks.error for run in outcome.runs)
        raise EngineFailed(f"the server spoke nothing: {', '.join(errors)}")
    return found
