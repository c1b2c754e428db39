"""Real networks: a sentence sounds the same alone and among others, to the bit."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import EngineConfig
from engine.pack import Pack
from engine.process_engine import ProcessEngine
from engine.thread_engine import ThreadEngine
from engine.types import FloatArray, Language, SentenceJob, Style, SynthesisParams, Voice
from engine.voices import VoiceStore
from tests.engine.jobs import phonemes_of, speak
from tests.micro_pack import micro_pack
from tests.tiny_packs import tiny_pack

NUM_SESSIONS, NUM_VOICES = 16, 5


def with_voices(pack: Pack) -> Pack:
    """Add five voices of random numbers."""
    store = VoiceStore(pack.path / "voices")
    acoustic = pack.config.acoustic
    for number in range(NUM_VOICES):
        rng = np.random.default_rng(number)
        style = Style(
            prompt_phoneme_ids=rng.integers(1, 300, 8 + number),
            prompt_tokens=rng.integers(0, acoustic.codebook_size, 10 + 3 * number),
            vector=rng.normal(size=acoustic.gin_dim).astype(np.float32),
            language=Language.EN,
            transcript="",
        )
        store.save(Voice(f"v{number}", pack.fingerprint, {"default": style}), pack.name)
    return pack


def make_jobs() -> list[SentenceJob]:
    """Sixteen sentences of mixed lengths, voices and sampling parameters."""
    dice = random.Random(11)
    return [
        SentenceJob(
            job_id=number + 1,
            utterance_id=f"u{number}",
            sentence_index=number % 3,
            phonemes=phonemes_of(*(dice.randrange(1, 300) for _ in range(dice.randint(1, 3)))),
            voice_id=f"v{number % NUM_VOICES}",
            params=SynthesisParams(
                seed=number,
                top_k=dice.choice([5, 15, 60]),
                top_p=dice.choice([1.0, 0.8]),
                temperature=dice.choice([0.7, 1.0, 1.3]),
                repetition_penalty=dice.choice([1.0, 1.35]),
                speed=dice.choice([1.0, 1.0, 1.25]),
            ),
        )
        for number in range(NUM_SESSIONS)
    ]


async def run_together(
    kind: type[ThreadEngine | ProcessEngine], backend: str, pack: Pack, cancelled: set[int]
) -> dict[int, FloatArray]:
    """Speak all jobs at once on eight slots; leave some after their first chunk."""
    config = EngineConfig(backend=backend, pack=pack.path, num_slots=8, max_positions=400)
    engine = kind(config)
    await engine.start()

    async def one(job: SentenceJob) -> FloatArray | None:
        if job.job_id not in cancelled:
            return await speak(engine, job)
        async with engine.synthesize(job) as chunks:
            await anext(chunks)
        return None

    try:
        jobs = make_jobs()
        heard = await asyncio.gather(*map(one, jobs))
        stats = await engine.stats()
        assert max(stats.steps_by_batch) >= 4, "the sessions were not batched"
        return {j.job_id: a for j, a in zip(jobs, heard, strict=True) if a is not None}
    finally:
        await engine.close()


async def run_alone(backend: str, pack: Pack, jobs: list[SentenceJob]) -> dict[int, FloatArray]:
    """Speak jobs one after another on an engine of one slot."""
    config = EngineConfig(backend=backend, pack=pack.path, num_slots=1, max_positions=400)
    engine = ThreadEngine(config)
    await engine.start()
    try:
        return {job.job_id: await speak(engine, job) for job in jobs}
    finally:
        await engine.close()


async def check(kind: type[ThreadEngine | ProcessEngine], backend: str, pack: Pack) -> None:
    """Compare every session that is not cancelled with the same one alone, in a thread."""
    cancelled = {2, 7, 11}
    together = await run_together(kind, backend, pack, cancelled)
    jobs = [job for job in make_jobs() if job.job_id not in cancelled]
    alone = await run_alone(backend, pack, jobs)
    assert together.keys() == alone.keys()
    for job_id, audio in alone.items():
        np.testing.assert_array_equal(together[job_id], audio, err_msg=f"job {job_id}")
        assert np.abs(audio).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parity
async def test_sixteen_sessions_sound_as_each_does_alone(
    fixtures_dir: Path, tmp_path: Path
) -> None:
    """Five voices, mixed lengths, cancels: every other session is bit-identical to itself alone."""
    torch.set_num_threads(1)
    await check(ThreadEngine, "torch", with_voices(tiny_pack(fixtures_dir, tmp_path, "v2")))


async def test_sixteen_sessions_on_exported_graphs_too(tmp_path: Path) -> None:
    """The same on ONNX Runtime in a process of its own: what serves."""
    await check(ProcessEngine, "onnxruntime", with_voices(micro_pack(tmp_path)))
