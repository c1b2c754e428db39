"""Streaming modes against the offline result: how near they come, and how soon they begin.

The prompt of a voice is spoken again: real tokens for the comparison, real phonemes for the first
packet. That one is timed through the engine, from the sentence's arrival to its first samples, with
the leading silence left in: what it costs does not depend on what the model says first.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bench.environment import QuietWatch, write_json
from bench.seams import log_spectral_distance, seam_score, snr_db
from engine.backends.base import Backend
from engine.backends.registry import create_backend
from engine.client import EngineClient
from engine.config import EngineConfig
from engine.pack import Pack, load_pack
from engine.thread_engine import ThreadEngine
from engine.types import (
    MAX_LEADING_SILENCE_MS,
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
from engine.vocoding import SETTINGS, VocoderStream, lookahead
from engine.voices import PackVoices


@dataclass(frozen=True, slots=True)
class ModeRow:
    """A streaming mode against `exact`: same tokens, same noise."""

    mode: str
    lookahead_tokens: int | None
    first_lookahead_tokens: int | None
    snr_db: float
    log_spectral_distance_db: float
    seam_score: float
    first_vocode_s: float  # the first vocoder step alone
    first_packet_steps: int = 0  # decode steps before the first vocoder step
    first_packet_s: float = 0.0  # sentence given to first samples, through the engine, median
    first_packet_cpu_s: float = 0.0  # CPU time of all threads until then, median


def mode_table(backend: Backend, style: Style) -> list[ModeRow]:
    """Stream the tokens of a prompt in every mode and compare with `exact`."""
    tokens, phonemes = style.prompt_tokens.astype(np.int64), prompt_phonemes(style)
    exact, _, _ = _stream(backend, style, StreamMode.EXACT, tokens, phonemes)
    rows = []
    for mode in StreamMode:
        samples, joins, first_s = _stream(backend, style, mode, tokens, phonemes)
        settings = SETTINGS[mode]
        rows.append(
            ModeRow(
                mode=str(mode),
                lookahead_tokens=settings.lookahead_tokens,
                first_lookahead_tokens=settings.first_lookahead_tokens,
                snr_db=snr_db(exact, samples),
                log_spectral_distance_db=log_spectral_distance(exact, samples),
                seam_score=seam_score(samples, joins),
                first_vocode_s=first_s,
            )
        )
    return rows


def prompt_phonemes(style: Style) -> Phonemes:
    """Return the phonemes of a style's own prompt: what its networks were trained on."""
    count = len(style.prompt_phoneme_ids)
    word = Word("", Language.EN, count, 0, 0)
    return Phonemes(style.prompt_phoneme_ids.astype(np.int64), ("x",) * count, (word,), "")


def measure_modes(pack: Pack, backend_name: str, *, repeats: int) -> list[ModeRow]:
    """Return the mode table of a pack, first packets measured on a warm engine."""
    config = EngineConfig(backend=backend_name, pack=pack.path, num_slots=1)
    voices = PackVoices(pack, None)
    voice = voices.infos()[0].id
    style = voices.style(voice, "default")
    rows = mode_table(create_backend(backend_name, pack, config), style)
    return asyncio.run(_first_packets(rows, config, voice, style, repeats))


async def _first_packets(
    rows: Sequence[ModeRow], config: EngineConfig, voice: str, style: Style, repeats: int
) -> list[ModeRow]:
    engine = ThreadEngine(config)
    await engine.start()
    measured, number = [], 0
    try:
        for row in rows:
            times, cpu_times, steps = [], [], 0
            for _ in range(repeats):
                number += 1
                mode = StreamMode(row.mode)
                params = SynthesisParams(mode=mode, leading_silence_ms=MAX_LEADING_SILENCE_MS)
                job = SentenceJob(
                    number, f"m{number}", 0, prompt_phonemes(style), voice, params=params
                )
                seconds, cpu_s, num_tokens = await _until_first_chunk(engine, job)
                times.append(seconds)
                cpu_times.append(cpu_s)
                ahead = lookahead(mode)
                first = config.schedule.size(0, 0)
                steps = num_tokens if ahead is None else min(num_tokens, first + ahead[0])
            measured.append(
                replace(
                    row,
                    first_packet_steps=steps,
                    first_packet_s=float(np.median(times)),
                    first_packet_cpu_s=float(np.median(cpu_times)),
                )
            )
    finally:
        await engine.close()
    return measured


async def _until_first_chunk(engine: EngineClient, job: SentenceJob) -> tuple[float, float, int]:
    """Return wall and CPU seconds until a job's first chunk, and how many tokens it has in all."""
    wall, cpu = time.perf_counter(), time.process_time()
    first_s, cpu_s, num_tokens = 0.0, 0.0, 0
    async with engine.synthesize(job) as chunks:
        async for chunk in chunks:
            if not num_tokens:
                first_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            num_tokens += chunk.num_tokens
    return first_s, cpu_s, num_tokens


def _stream(
    backend: Backend, style: Style, mode: StreamMode, tokens: IntArray, phonemes: Phonemes
) -> tuple[FloatArray, list[int], float]:
    """Return samples, the first sample of each chunk but the first, and the first step's time."""
    stream = VocoderStream(
        backend.acoustic,
        phonemes,
        style.vector,
        sentence_index=0,
        params=SynthesisParams(seed=1, mode=mode),
    )
    parts: list[FloatArray] = []
    first_s = 0.0
    chunk = 5
    while stream.num_frozen_tokens < len(tokens):
        first = stream.num_frozen_tokens == 0
        ahead = lookahead(mode)
        known = len(tokens)
        if ahead is not None:
            known = stream.num_frozen_tokens + chunk + ahead[0 if first else 1]
        final = known >= len(tokens)
        num_new = min(chunk, len(tokens) - stream.num_frozen_tokens)
        if mode is StreamMode.EXACT:
            num_new = len(tokens)
        started = time.perf_counter()
        parts.append(stream.step(tokens[:known], num_new, final=final).samples)
        first_s = first_s or time.perf_counter() - started
        chunk = min(50, chunk * 2)
    joins = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return np.concatenate(parts), joins, first_s


def print_modes(rows: Sequence[ModeRow]) -> None:
    """Print the table."""
    print(
        "\nmode      lookahead  SNR dB  LSD dB  seam   first packet: steps  vocoder ms  in all ms"
    )
    for row in rows:
        ahead = "all" if row.lookahead_tokens is None else str(row.lookahead_tokens)
        print(
            f"{row.mode:9s} {ahead:>9s}  {row.snr_db:6.1f}  {row.log_spectral_distance_db:6.2f}  "
            f"{row.seam_score:4.2f}  {row.first_packet_steps:5d}  {row.first_vocode_s * 1e3:10.1f}"
            f"  {row.first_packet_s * 1e3:9.1f}  {row.first_packet_cpu_s * 1e3:6.1f}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pack", type=Path, required=True, help="a trained and exported pack")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Measure and print one table."""
    watch = QuietWatch()
    pack = load_pack(args.pack)
    rows = measure_modes(pack, args.backend, repeats=args.repeats)
    others = watch.share()
    print(f"{pack.name}, {args.backend}, others used {others:.0%} of the machine")
    print_modes(rows)
    if args.json:
        result = {"pack": pack.name, "backend": args.backend, "modes": [asdict(r) for r in rows]}
        write_json(args.json, result | {"others_share": others})
    return 0
