"""Jobs and helpers for engine tests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import numpy as np

from engine.backends.fake import FakeScript, expected_tokens, fake_voices, tone
from engine.client import EngineClient
from engine.types import (
    AudioChunk,
    FloatArray,
    Language,
    Phonemes,
    SentenceJob,
    SynthesisParams,
    Word,
)

_ids = itertools.count(1)


def phonemes_of(*ids: int) -> Phonemes:
    """Return phonemes that are one English word."""
    word = Word("word", Language.EN, len(ids), 0, 4)
    return Phonemes(np.array(ids, np.int64), tuple(map(str, ids)), (word,), "word")


def make_job(
    *ids: int,
    utterance: str = "u",
    index: int = 0,
    voice: str = "fake",
    style: str = "default",
    params: SynthesisParams | None = None,
    pause_ms: int = 0,
) -> SentenceJob:
    """Return a job of the given phonemes (default: twelve of them)."""
    return SentenceJob(
        job_id=next(_ids),
        utterance_id=utterance,
        sentence_index=index,
        phonemes=phonemes_of(*(ids or range(20, 32))),
        voice_id=voice,
        style=style,
        params=params or SynthesisParams(),
        pause_ms=pause_ms,
    )


async def collect(chunks: AsyncIterator[AudioChunk]) -> list[AudioChunk]:
    """Return all chunks of a job."""
    return [chunk async for chunk in chunks]


async def speak(engine: EngineClient, job: SentenceJob) -> FloatArray:
    """Return a whole sentence's audio."""
    async with engine.synthesize(job) as chunks:
        parts = await collect(chunks)
    assert [part.is_final for part in parts] == [False] * (len(parts) - 1) + [True]
    return np.concatenate([part.samples for part in parts])


def fake_audio(job: SentenceJob, script: FakeScript | None = None) -> FloatArray:
    """Return what the fake backend must say for a job, computed without the engine."""
    style = fake_voices(10)[job.voice_id].styles[job.style]
    ids = np.concatenate([style.prompt_phoneme_ids, job.phonemes.ids])
    tokens = expected_tokens(ids, style.prompt_tokens, script or FakeScript())
    silence = np.zeros(job.pause_ms * 32, np.float32)
    return np.concatenate([*(tone(int(token), 640, 32000) for token in tokens), silence])
