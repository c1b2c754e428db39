"""Streaming modes against the offline result: how near they come, and how soon they begin.

The prompt of a voice is spoken again, real tokens of its phonemes; a voice without one speaks a
sentence, with the tokens the pack makes of it. The first packet is timed through the engine, from
the sentence's arrival to its first samples, with the leading silence left in: what it costs does
not depend on what the model says first.
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
from engine.chunking import ChunkPlan, ChunkSchedule
from engine.client import EngineClient
from engine.collapse import token_limit
from engine.config import EngineConfig
from engine.noise import exponential
from engine.pack import Pack, load_pack
from engine.sampling import Sampler
from engine.text.frontend import Frontend
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
from engine.vocoding import VocoderStream, lookahead
from engine.voices import PackVoices

_SEED = 1
_SMALL_CHUNKS = ChunkSchedule(first_tokens=2, next_first_tokens=2, max_tokens=2, growth=1.0)
_SENTENCES = {
    Language.EN: "The weather is nice today, so let us all go out to the park for a walk.",
    Language.ZH: "今天天气很好，我们一起去公园散步吧，晚上再回来吃饭。",
}


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


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is spoken: phonemes, and tokens of them, int64 [T]."""

    phonemes: Phonemes
    tokens: IntArray


def mode_table(backend: Backend, style: Style, material: Material) -> list[ModeRow]:
    """Stream the tokens in every mode, cut as the engine cuts them, and compare with the whole.

    Seams are looked for where chunks are small: six joins by chance hit a pulse of the voice.
    """
    exact = _vocoder(backend, style, StreamMode.EXACT, material)
    whole = exact.step(material.tokens, len(material.tokens), final=True).samples
    rows = []
    for mode in StreamMode:
        samples, _, first_s = _stream(backend, style, mode, material, ChunkSchedule())
        many, joins, _ = _stream(backend, style, mode, material, _SMALL_CHUNKS)
        ahead = lookahead(mode, backend.config.acoustic)
        rows.append(
            ModeRow(
                mode=str(mode),
                lookahead_tokens=None if ahead is None else ahead[1],
                first_lookahead_tokens=None if ahead is None else ahead[0],
                snr_db=snr_db(whole, samples),
                log_spectral_distance_db=log_spectral_distance(whole, samples),
                seam_score=seam_score(many, joins),
                first_vocode_s=first_s,
            )
        )
    return rows


def material_of(backend: Backend, pack: Pack, style: Style) -> Material:
    """Return a style's own prompt, or a sentence where it has none, or only a lead-in."""
    if len(style.prompt_phoneme_ids):
        count = len(style.prompt_phoneme_ids)
        word = Word("", Language.EN, count, 0, 0)
        ids = style.prompt_phoneme_ids.astype(np.int64)
        phonemes = Phonemes(ids, ("x",) * count, (word,), "")
        return Material(phonemes, style.prompt_tokens.astype(np.int64))
    language = style.language if style.language in _SENTENCES else Language.EN
    phonemes = Frontend(pack.symbol_set).phonemize(_SENTENCES[language], language)
    params = SynthesisParams(seed=_SEED, **asdict(pack.sampling))
    return Material(phonemes, _draw_tokens(backend, phonemes, params))


def _draw_tokens(backend: Backend, phonemes: Phonemes, params: SynthesisParams) -> IntArray:
    semantic, vocab_size = backend.semantic, backend.config.t2s.vocab_size
    no_prompt = np.zeros(0, np.int64)
    limit = token_limit(len(phonemes))
    sampler = Sampler(params, no_prompt, vocab_size=vocab_size, max_tokens=limit)
    logits = semantic.prefill(0, phonemes.ids, None, no_prompt)
    tokens: list[int] = []
    while sampler.stopped is None:
        token = sampler.draw(logits, exponential(params.seed, 0, sampler.step, vocab_size))
        if token is not None:
            tokens.append(token)
            logits = semantic.decode([0], np.array([token]))[0]
    semantic.release(0)
    return np.array(tokens, np.int64)


def measure_modes(pack: Pack, backend_name: str, *, repeats: int) -> list[ModeRow]:
    """Return the mode table of a pack, first packets measured on a warm engine."""
    config = EngineConfig(backend=backend_name, pack=pack.path, num_slots=1)
    voices = PackVoices(pack, None)
    voice = voices.infos()[0].id
    style = voices.style(voice, "default")
    backend = create_backend(backend_name, pack, config)
    material = material_of(backend, pack, style)
    rows = mode_table(backend, style, material)
    return asyncio.run(_first_packets(rows, config, voice, material.phonemes, repeats))


async def _first_packets(
    rows: Sequence[ModeRow], config: EngineConfig, voice: str, phonemes: Phonemes, repeats: int
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
                job = SentenceJob(number, f"m{number}", 0, phonemes, voice, params=params)
                seconds, cpu_s, num_tokens = await _until_first_chunk(engine, job)
                times.append(seconds)
                cpu_times.append(cpu_s)
                ahead, first = row.first_lookahead_tokens, config.schedule.size(0, 0)
                steps = num_tokens if ahead is None else min(num_tokens, first + ahead)
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
    backend: Backend, style: Style, mode: StreamMode, material: Material, schedule: ChunkSchedule
) -> tuple[FloatArray, list[int], float]:
    """Return samples, the first sample of each chunk but the first, and the first step's time."""
    stream = _vocoder(backend, style, mode, material)
    ahead = lookahead(mode, backend.config.acoustic)
    plan = ChunkPlan(schedule, sentence_index=0, lookahead=ahead)
    parts: list[FloatArray] = []
    first_s = 0.0
    for chunk in plan.cut(material.tokens.tolist(), is_complete=True):
        started = time.perf_counter()
        output = stream.step(chunk.tokens, chunk.num_new, final=chunk.is_complete)
        first_s = first_s or time.perf_counter() - started
        parts.append(output.samples)
    joins = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return np.concatenate(parts), joins, first_s


def _vocoder(backend: Backend, style: Style, mode: StreamMode, material: Material) -> VocoderStream:
    return VocoderStream(
        backend.acoustic,
        material.phonemes,
        style.vector,
        sentence_index=0,
        params=SynthesisParams(seed=_SEED, mode=mode),
    )


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
