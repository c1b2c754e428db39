"""The server with an engine that costs nothing, so that what is measured is the server.

`python -m bench.tones` takes the options of `sovits-live serve`. Every sentence is a tone, 120 ms a
letter, made in chunks of 400 ms a fixed time after the one before and no further ahead than the
listener's grant. There is no engine process and no frontend process.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import numpy as np

from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.types import AudioChunk, Language, Phonemes, SentenceJob, Word
from server import config as configuration
from server import logs, serve_command
from server.runtime import Parts

RATE_HZ = 32000
TOKENS_PER_LETTER = 3
CHUNK_TOKENS = 10
FIRST_S, STEP_S = 0.08, 0.02  # until the first chunk of a sentence, and between chunks
_TOKEN_S = 0.04
_SAMPLES = int(RATE_HZ * _TOKEN_S)


class ToneEngine:
    """An EngineClient. See the module docstring."""

    def __init__(self) -> None:
        time_s = np.arange(CHUNK_TOKENS * _SAMPLES) / RATE_HZ
        self._tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
        self._granted: dict[str, float] = {}
        self._made: defaultdict[str, float] = defaultdict(float)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        # A later sentence must not use up what the one before it needs.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._num_done = 0
        self._last_audio_s = -math.inf

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        return EngineInfo(
            "tones", "fake", "tones", "v2", RATE_HZ, 1, {"runtime": "tones"}, "tones only"
        )

    @property
    def is_ready(self) -> bool:
        """See EngineClient."""
        return True

    @property
    def last_audio_s(self) -> float:
        """See EngineClient."""
        return self._last_audio_s

    @property
    def voices(self) -> Mapping[str, VoiceInfo]:
        """See EngineClient."""
        return {"tone": VoiceInfo("tone", Language.EN, ("default",))}

    async def start(self) -> None:
        """See EngineClient."""

    async def close(self) -> None:
        """See EngineClient."""

    async def reload_voices(self) -> None:
        """See EngineClient."""

    async def stats(self) -> EngineStats:
        """See EngineClient."""
        return EngineStats(jobs_done=self._num_done)

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """See EngineClient."""
        self._granted[utterance_id] = audio_s
        self._changed[utterance_id].set()

    def forget(self, utterance_id: str) -> None:
        """See EngineClient."""
        for kept in (self._granted, self._made, self._changed, self._turns):
            kept.pop(utterance_id, None)

    @asynccontextmanager
    async def synthesize(self, job: SentenceJob) -> AsyncIterator[AsyncIterator[AudioChunk]]:
        """See EngineClient."""
        async with self._turns[job.utterance_id]:
            yield self._chunks(job)

    async def _chunks(self, job: SentenceJob) -> AsyncIterator[AudioChunk]:
        total = TOKENS_PER_LETTER * len(job.phonemes)
        for done in range(0, total, CHUNK_TOKENS):
            await asyncio.sleep(STEP_S if done else FIRST_S)
            await self._wait_for_grant(job.utterance_id)
            count = min(CHUNK_TOKENS, total - done)
            is_final = done + count == total
            samples = self._tone[: count * _SAMPLES]
            if is_final:
                pause = np.zeros(job.pause_ms * RATE_HZ // 1000, np.float32)
                samples = np.concatenate([samples, pause])
                self._num_done += 1
            self._made[job.utterance_id] += len(samples) / RATE_HZ
            self._last_audio_s = time.monotonic()
            tokens = np.arange(done, done + count, dtype=np.int64) // TOKENS_PER_LETTER
            yield AudioChunk(
                job.job_id, job.sentence_index, samples, RATE_HZ, is_final, count, tokens
            )

    async def _wait_for_grant(self, utterance_id: str) -> None:
        while self._made[utterance_id] >= self._granted.get(utterance_id, float("inf")):
            self._changed[utterance_id].clear()
            await self._changed[utterance_id].wait()


class Letters:
    """A FrontendPool: a phoneme for every letter."""

    async def start(self) -> None:
        """See FrontendPool."""

    async def close(self) -> None:
        """See FrontendPool."""

    async def phonemize(
        self, text: str, language: Language, *, digits: str | None = None
    ) -> Phonemes:
        """See FrontendPool."""
        words = tuple(
            Word(letter, Language.EN, 1, place, place + 1)
            for place, letter in enumerate(text)
            if letter.isalnum()
        )
        ids = np.arange(len(words), dtype=np.int64)
        return Phonemes(ids, tuple(word.text for word in words), words, text)


def main() -> int:
    """Serve tones."""
    parser = argparse.ArgumentParser(description=__doc__)
    serve_command.add_arguments(parser)
    args = parser.parse_args()
    settings = [f"server.port={args.port or 8080}", *args.set]
    config = configuration.load(args.config, settings=settings)
    logs.set_up(config.log.level, config.log.format)
    parts = Parts(ToneEngine(), lambda info: Letters(), (Language.EN,))
    return serve_command.run_on_best_loop(serve_command.serve(config, parts))


if __name__ == "__main__":
    sys.exit(main())
