"""Steps, batching, chunk cost, streaming modes and isolation of the engine, without a socket.

By default on a full-size v2Pro pack with random weights (made and kept in --cache); speed does not
depend on the weights, the mode table does: give a trained pack with --modes-pack.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import QuietWatch, Summary, write_json
from bench.modes import ModeRow, measure_modes, print_modes
from bench.random_pack import PROMPT_PHONEMES, PROMPT_TOKENS, random_pack
from engine.backends.base import Backend
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.pack import Pack, load_pack
from engine.thread_engine import ThreadEngine
from engine.types import (
    MAX_LEADING_SILENCE_MS,
    TOKEN_HZ,
    AudioChunk,
    FloatArray,
    IntArray,
    Language,
    Phonemes,
    SentenceJob,
    StreamMode,
    Style,
    SynthesisParams,
    Word,
)
from engine.vocoding import VocoderStream, lookahead
from engine.voices import PackVoices

BATCHES = (1, 2, 4, 8, 16)
_TARGET_PHONEMES = 60
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class StepRow:
    """A decode step of one batch size."""

    batch: int
    step_s: Summary
    tokens_per_s: float
    audio_per_s: float  # seconds of speech whose tokens one second of steps makes


def phonemes_of(count: int, num_symbols: int, seed: int = 0) -> Phonemes:
    """Return random phonemes as one word."""
    ids = np.random.default_rng(seed).integers(1, min(300, num_symbols), count)
    word = Word("", Language.EN, count, 0, 0)
    return Phonemes(ids.astype(np.int64), ("x",) * count, (word,), "")


def step_table(backend: Backend, batches: Sequence[int], repeats: int) -> list[StepRow]:
    """Time decode steps with every row in use."""
    rng = np.random.default_rng(1)
    prompt = rng.integers(0, backend.config.t2s.vocab_size - 1, PROMPT_TOKENS)
    num_symbols = backend.config.acoustic.num_phonemes
    ids = phonemes_of(PROMPT_PHONEMES + _TARGET_PHONEMES, num_symbols).ids
    rows = []
    for batch in batches:
        slots = list(range(batch))
        for slot in slots:
            backend.semantic.prefill(slot, ids, None, prompt)
        tokens = np.zeros(batch, np.int64)
        times = []
        for _ in range(_WARM_UP + repeats):
            started = time.perf_counter()
            backend.semantic.decode(slots, tokens)
            times.append(time.perf_counter() - started)
        for slot in slots:
            backend.semantic.release(slot)
        step_s = Summary.of(times[_WARM_UP:])
        rate = batch / step_s.median
        rows.append(StepRow(batch, step_s, rate, rate / TOKEN_HZ))
    return rows


def prefill_cost(backend: Backend, repeats: int) -> Summary:
    """Time the prefill of a short sentence after a 3 s prompt."""
    rng = np.random.default_rng(1)
    prompt = rng.integers(0, backend.config.t2s.vocab_size - 1, PROMPT_TOKENS)
    ids = phonemes_of(PROMPT_PHONEMES + 20, backend.config.acoustic.num_phonemes).ids
    times = []
    for _ in range(_WARM_UP + repeats):
        started = time.perf_counter()
        backend.semantic.prefill(0, ids, None, prompt)
        times.append(time.perf_counter() - started)
        backend.semantic.release(0)
    return Summary.of(times[_WARM_UP:])


def chunk_costs(backend: Backend, style: Style, *, chunks: int, chunk_tokens: int) -> list[float]:
    """Return seconds of each vocoder step of one long sentence in balanced mode."""
    tokens = _some_tokens(backend, (chunks + 2) * chunk_tokens)
    stream = _vocoder(backend, style, StreamMode.BALANCED, 120)
    ahead = lookahead(StreamMode.BALANCED, backend.config.acoustic)
    assert ahead is not None
    times = []
    for index in range(chunks):
        known = (index + 1) * chunk_tokens + ahead[1]
        started = time.perf_counter()
        stream.step(tokens[:known], chunk_tokens, final=False)
        times.append(time.perf_counter() - started)
    return times


async def concurrent(
    config: EngineConfig, jobs: Sequence[SentenceJob]
) -> tuple[list[FloatArray], float]:
    """Speak all jobs at once; return their audio and the wall time."""
    engine = ThreadEngine(config)
    await engine.start()
    try:
        started = time.perf_counter()
        audio = await asyncio.gather(*(_speak(engine, job) for job in jobs))
        return list(audio), time.perf_counter() - started
    finally:
        await engine.close()


async def _speak(engine: ThreadEngine, job: SentenceJob) -> FloatArray:
    chunks: list[AudioChunk] = []
    async with engine.synthesize(job) as stream:
        async for chunk in stream:
            chunks.append(chunk)
    return np.concatenate([chunk.samples for chunk in chunks])


def throughput(
    pack: Pack, config: EngineConfig, voice: str, batches: Sequence[int], phonemes: int
) -> tuple[list[dict[str, float]], bool]:
    """Speak n sentences at once for each n, and compare each with the same spoken alone.

    Returns:
        Rows of sessions, audio seconds per second, real-time factor; and the isolation verdict.
    """
    symbols = pack.config.acoustic.num_phonemes
    jobs = [
        SentenceJob(
            n + 1,
            f"u{n}",
            0,
            phonemes_of(phonemes + n % 3, symbols, seed=n),
            voice,
            params=SynthesisParams(leading_silence_ms=MAX_LEADING_SILENCE_MS),
        )
        for n in range(max(batches))
    ]
    alone = [asyncio.run(concurrent(config, [job])) for job in jobs[: min(4, len(jobs))]]
    rows = []
    isolated = True
    for batch in batches:
        audio, wall_s = asyncio.run(concurrent(config, jobs[:batch]))
        for one, (expected, _) in zip(audio, alone, strict=False):
            isolated &= np.array_equal(one, expected[0])
        seconds = sum(len(one) for one in audio) / pack.sample_rate_hz
        rows.append({"sessions": batch, "audio_per_s": seconds / wall_s, "rtf": wall_s / seconds})
    return rows, isolated


def _some_tokens(backend: Backend, count: int) -> IntArray:
    size = backend.config.acoustic.codebook_size
    return np.random.default_rng(2).integers(0, size, count).astype(np.int64)


def _vocoder(backend: Backend, style: Style, mode: StreamMode, phonemes: int) -> VocoderStream:
    return VocoderStream(
        backend.acoustic,
        phonemes_of(phonemes, backend.config.acoustic.num_phonemes),
        style.vector,
        sentence_index=0,
        params=SynthesisParams(mode=mode),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pack", type=Path, help="an exported pack instead of a random one")
    parser.add_argument("--family", default="v2Pro", help="of the random pack")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="for random packs")
    parser.add_argument("--modes-pack", type=Path, help="a trained pack for the mode table")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Measure and print one table."""
    pack = load_pack(args.pack) if args.pack else random_pack(args.family, args.cache)
    config = EngineConfig(
        backend=args.backend,
        pack=pack.path,
        precision=args.precision,
        num_slots=max(args.batches),
        max_positions=1024,
    )
    watch = QuietWatch()
    voices = PackVoices(pack, None)
    voice = voices.infos()[0].id
    style = voices.style(voice, "default")
    backend = create_backend(args.backend, pack, config)
    steps = step_table(backend, args.batches, args.repeats)
    by_batch = {row.batch: row.tokens_per_s for row in steps}
    costs = chunk_costs(backend, style, chunks=42, chunk_tokens=25)
    growth = float(np.median(costs[36:42]) / np.median(costs[2:8]))
    prefill = prefill_cost(backend, max(3, args.repeats // 4))
    del backend
    modes_pack = load_pack(args.modes_pack) if args.modes_pack else pack
    modes = measure_modes(modes_pack, args.backend, repeats=max(3, args.repeats // 4))
    sessions, isolated = throughput(pack, config, voice, args.batches, phonemes=6)
    result: dict[str, Any] = {
        "pack": pack.name,
        "backend": args.backend,
        "precision": args.precision,
        "steps": [asdict(row) for row in steps],
        "sessions": sessions,
        "prefill_s": asdict(prefill),
        "batching_gain_8": by_batch[8] / by_batch[1] if 8 in by_batch else None,
        "chunk_s": costs,
        "chunk_growth_40_to_3": growth,
        "modes": [asdict(row) for row in modes],
        "isolated": isolated,
        "others_share": watch.share(),
        "costs": {
            "prefill_s": prefill.median,
            "decode_s": [row.step_s.median for row in steps if row.batch <= 8],
            "vocode_fixed_s": 0.0,
            "vocode_per_token_s": float(np.median(costs)) / 25,
        },
    }
    _print(result, steps, modes)
    if args.json:
        write_json(args.json, result)
    return 0


def _print(result: dict[str, Any], steps: Sequence[StepRow], modes: Sequence[ModeRow]) -> None:
    print(f"{result['pack']}, {result['backend']} {result['precision']}, "
          f"others used {result['others_share']:.0%} of the machine")  # fmt: skip
    print("\nbatch  step min/median ms   tokens/s   audio s/s")
    for row in steps:
        print(
            f"{row.batch:5d}  {row.step_s.min * 1e3:7.1f} /{row.step_s.median * 1e3:7.1f}   "
            f"{row.tokens_per_s:8.1f}   {row.audio_per_s:8.2f}"
        )
    if result["batching_gain_8"] is not None:
        print(f"batching gain at 8: {result['batching_gain_8']:.2f}x")
    print("\nsessions  audio s/s    RTF")
    for entry in result["sessions"]:
        print(f"{entry['sessions']:8d}  {entry['audio_per_s']:9.2f}  {entry['rtf']:5.2f}")
    print(f"isolated: {result['isolated']}")
    print(f"cost of the 40th chunk against the 3rd: {result['chunk_growth_40_to_3']:.2f}x")
    print_modes(modes)
