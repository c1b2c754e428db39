"""Scripted stand-ins for the engine and the frontends; tests only."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.errors import EngineFailed, TextError
from engine.types import AudioChunk, Language, Phonemes, Sampling, SentenceJob, Word

RATE_HZ = 32000
TOKENS_PER_PHONEME = 2
SAMPLES_PER_TOKEN = RATE_HZ // 25


@dataclass
class Script:
    """How the scripted engine behaves.

    Attributes:
        tokens_per_chunk: Size of a chunk.
        step_s: Time one token takes.
        gates: By sentence index, an event to wait for before its chunk number 1 (the second).
        fail_text: A normalized text whose sentence fails after its first chunk.
        hang_text: A normalized text whose sentence never gives anything.
        mute_text: A normalized text whose sentence ends without a chunk.
        sampling: Of its pack.
        languages: Of its pack; empty if that is not known.
    """

    tokens_per_chunk: int = 5
    step_s: float = 0.0
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    fail_text: str = ""
    hang_text: str = ""
    mute_text: str = ""
    sampling: Sampling = Sampling()
    languages: tuple[Language, ...] = ()


class ScriptedEngine:
    """An EngineClient that speaks a constant, in real chunks with real token counts."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.journal: list[str] = []  # what happened, in order
        self.jobs: list[SentenceJob] = []
        self.grants: dict[str, float] = {}
        self.forgotten: list[str] = []
        self.active: set[int] = set()
        self.start_error: Exception | None = None
        self.start_gate: asyncio.Event | None = None
        self._ready = False
        self.spoken_s = -math.inf

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        runtime = {"runtime": "script"}
        return EngineInfo(
            *("scripted", "fake", "f" * 8, "v2", RATE_HZ, 4, runtime, "no speech"),
            sampling=self.script.sampling,
            languages=self.script.languages,
        )

    @property
    def is_ready(self) -> bool:
        """See EngineClient."""
        return self._ready

    @is_ready.setter
    def is_ready(self, value: bool) -> None:
        self._ready = value

    @property
    def last_audio_s(self) -> float:
        """See EngineClient."""
        return self.spoken_s

    @property
    def voices(self) -> Mapping[str, VoiceInfo]:
        """See EngineClient."""
        return {
            "anna": VoiceInfo("anna", Language.ZH, ("default", "sad"), "a constant"),
            "bob": VoiceInfo("bob", Language.EN, ("default",)),
        }

    async def start(self) -> None:
        """See EngineClient."""
        if self.start_gate is not None:
            await self.start_gate.wait()
        if self.start_error is not None:
            raise self.start_error
        self._ready = True
        self.spoken_s = time.monotonic()

    async def close(self) -> None:
        """See EngineClient."""
        self._ready = False

    @asynccontextmanager
    async def synthesize(self, job: SentenceJob) -> AsyncIterator[AsyncIterator[AudioChunk]]:
        """See EngineClient."""
        self.jobs.append(job)
        self.active.add(job.job_id)
        self.journal.append(f"start {job.sentence_index}")
        try:
            yield self._chunks(job)
        finally:
            self.active.discard(job.job_id)
            self.journal.append(f"stop {job.sentence_index}")

    async def _chunks(self, job: SentenceJob) -> AsyncIterator[AudioChunk]:
        script, text = self.script, job.phonemes.normalized_text
        if script.hang_text and text == script.hang_text:
            await asyncio.Event().wait()
        if script.mute_text and text == script.mute_text:
            return
        total = TOKENS_PER_PHONEME * len(job.phonemes)
        done = 0
        while done < total:
            if done and job.sentence_index in script.gates:
                await script.gates[job.sentence_index].wait()
            if done and script.fail_text and text == script.fail_text:
                raise EngineFailed("the engine broke")
            count = min(script.tokens_per_chunk, total - done)
            for _ in range(count):
                await asyncio.sleep(script.step_s)
                done += 1
                self.journal.append(f"token {job.sentence_index}.{done}/{total}")
            yield self._chunk(job, done, count, is_final=done == total)

    def _chunk(self, job: SentenceJob, done: int, count: int, *, is_final: bool) -> AudioChunk:
        self.spoken_s = time.monotonic()
        samples = np.full(count * SAMPLES_PER_TOKEN, 0.1, np.float32)
        if is_final:
            pause = np.zeros(job.pause_ms * RATE_HZ // 1000, np.float32)
            samples = np.concatenate([samples, pause])
        phonemes = np.arange(done - count, done, dtype=np.int64) // TOKENS_PER_PHONEME
        return AudioChunk(
            job.job_id, job.sentence_index, samples, RATE_HZ, is_final, count, phonemes
        )

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """See EngineClient."""
        self.grants[utterance_id] = audio_s

    def forget(self, utterance_id: str) -> None:
        """See EngineClient."""
        self.forgotten.append(utterance_id)

    async def reload_voices(self) -> None:
        """See EngineClient."""

    async def stats(self) -> EngineStats:
        """See EngineClient."""
        return EngineStats(jobs_done=len(self.jobs), steps_by_batch={1: 5})


class ScriptedFrontend:
    """A phoneme per letter or digit; Japanese is not installed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def start(self) -> None:
        """See FrontendPool."""

    async def close(self) -> None:
        """See FrontendPool."""
        self.is_closed = True

    async def phonemize(
        self, text: str, language: Language, *, digits: str | None = None
    ) -> Phonemes:
        """See FrontendPool."""
        if "カ" in text:
            raise TextError("the text is Japanese: pip install 'sovits-live[ja]'")
        if "💥" in text:
            raise RuntimeError("a bug in a frontend")
        words = tuple(
            Word(ch, Language.EN, 1, i, i + 1) for i, ch in enumerate(text) if ch.isalnum()
        )
        ids = np.arange(1, len(words) + 1, dtype=np.int64)
        return Phonemes(ids, tuple("p" for _ in words), words, text)
