"""One engine in a process of its own: cold start, memory, first chunk and real-time factor.

python -m bench.cpu_engine PACK BACKEND PRECISION SECONDS      prints one line of JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.client import EngineClient
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from engine.types import (
    MAX_LEADING_SILENCE_MS,
    Language,
    Phonemes,
    SentenceJob,
    SynthesisParams,
    Word,
)

_CLAUSE_PHONEMES = 20  # ten Chinese characters
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """What one process gave."""

    start_s: float  # from the first import of the engine to ready, warm-up spoken
    resident_mb: float  # after speaking
    first_chunk_wall_s: float
    first_chunk_cpu_s: float
    audio_s: float
    rtf_wall: float
    rtf_cpu: float  # CPU seconds per second of audio: what a free core would need


async def measure(config: EngineConfig, seconds: float) -> EngineFigures:
    """Start an engine and speak `seconds` of one sentence."""
    started = time.perf_counter()
    engine = ThreadEngine(config)
    await engine.start()
    start_s = time.perf_counter() - started
    try:
        await _speak(engine, 1, 1.0)
        wall, cpu = time.perf_counter(), time.process_time()
        first, audio_s = await _speak(engine, 2, seconds)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return EngineFigures(
            start_s, resident_mb(), first[0], first[1], audio_s, wall / audio_s, cpu / audio_s
        )
    finally:
        await engine.close()


def resident_mb() -> float:
    """Return this process's resident memory now, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * _PAGE / 1e6


async def _speak(
    engine: EngineClient, number: int, seconds: float
) -> tuple[tuple[float, float], float]:
    """Return wall and CPU seconds to the first chunk, and the seconds of audio heard."""
    ids = np.random.default_rng(number).integers(1, 300, _CLAUSE_PHONEMES)
    word = Word("", Language.ZH, len(ids), 0, 0)
    phonemes = Phonemes(ids, ("x",) * len(ids), (word,), "")
    # Random weights are quiet: nothing they say is taken for silence here.
    params = SynthesisParams(leading_silence_ms=MAX_LEADING_SILENCE_MS)
    voice = next(iter(engine.voices))
    job = SentenceJob(number, f"bench{number}", 0, phonemes, voice, params=params)
    wall, cpu = time.perf_counter(), time.process_time()
    first = (0.0, 0.0)
    audio_s = 0.0
    async with engine.synthesize(job) as chunks:
        async for chunk in chunks:
            if not audio_s:
                first = (time.perf_counter() - wall, time.process_time() - cpu)
            audio_s += len(chunk.samples) / chunk.sample_rate_hz
            if audio_s >= seconds:
                break
    return first, audio_s


def main() -> None:
    """Print the figures of the engine named on the command line."""
    pack, backend, precision, seconds = sys.argv[1:]
    config = EngineConfig(
        backend=backend, pack=Path(pack), precision=precision, num_slots=4, max_positions=1024
    )
    print(json.dumps(asdict(asyncio.run(measure(config, float(seconds))))))


if __name__ == "__main__":
    main()
