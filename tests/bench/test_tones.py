"""The engine that costs nothing: everything is spoken, in order, no further than granted."""

from __future__ import annotations

import asyncio

import numpy as np

from bench.tones import RATE_HZ, TOKENS_PER_LETTER, Letters, ToneEngine
from engine.types import AudioChunk, Language, SentenceJob


async def job(number: int, text: str = "abcdefghij", pause_ms: int = 100) -> SentenceJob:
    """Return a sentence of one utterance."""
    phonemes = await Letters().phonemize(text, Language.EN)
    return SentenceJob(number, "u", number, phonemes, "tone", pause_ms=pause_ms)


async def spoken(engine: ToneEngine, sentence: SentenceJob) -> list[AudioChunk]:
    """Return a sentence's chunks."""
    async with engine.synthesize(sentence) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_sentence_is_spoken_whole() -> None:
    """Every letter's tokens and the pause; phonemes point at their letters."""
    chunks = await spoken(ToneEngine(), await job(0, "ab, cd!"))
    assert sum(chunk.num_tokens for chunk in chunks) == 4 * TOKENS_PER_LETTER
    assert sum(len(chunk.samples) for chunk in chunks) == RATE_HZ * (12 * 40 + 100) // 1000
    assert [chunk.is_final for chunk in chunks] == [False, True]
    tokens = [chunk.token_phonemes for chunk in chunks]
    assert np.concatenate([t for t in tokens if t is not None]).tolist() == [
        letter for letter in range(4) for _ in range(TOKENS_PER_LETTER)
    ]


async def test_it_waits_for_the_grant_and_keeps_the_order() -> None:
    """The second sentence makes nothing before the first is whole, whatever is granted."""
    engine = ToneEngine()
    engine.grant("u", 0.5)
    made: list[tuple[int, float]] = []

    async def listen(sentence: SentenceJob) -> None:
        async with engine.synthesize(sentence) as chunks:
            async for chunk in chunks:
                made.append((chunk.sentence_index, len(chunk.samples) / RATE_HZ))

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(listen(await job(number)))
        while len(made) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # what is not granted would be there by then
        assert made == [(0, 0.4), (0, 0.4)]
        engine.grant("u", 60.0)
    assert [number for number, _ in made] == [0, 0, 0, 1, 1, 1]
    assert (await engine.stats()).jobs_done == 2
    engine.forget("u")
