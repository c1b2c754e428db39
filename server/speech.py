"""The sentences of one utterance on their way through frontend and engine."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from engine.errors import SovitsError
from engine.types import (
    AudioChunk,
    Language,
    Phonemes,
    Priority,
    Sampling,
    Sentence,
    SentenceJob,
    StreamMode,
    SynthesisParams,
)
from server.services import Services
from server.settings import Settings

_AHEAD = 3  # sentences in the engine or waiting to be delivered


@dataclass(frozen=True, slots=True)
class FlushMark:
    """Where a flush was asked for."""

    id: str | int | None


class TextEnd:
    """No more text."""


@dataclass(slots=True, eq=False)
class SpokenSentence:
    """A sentence and its chunks as they come; None is after the last.

    Attributes:
        cut_s: When it was cut from the text.
        phonemes: None where there is nothing to speak.
        has_begun: Its first chunk was taken.
    """

    sentence: Sentence
    settings: Settings
    cut_s: float
    chunks: asyncio.Queue[AudioChunk | None] = field(default_factory=asyncio.Queue)
    phonemes: Phonemes | None = None
    has_begun: bool = False


Planned: TypeAlias = SpokenSentence | FlushMark | TextEnd


class SynthesisTimeout(SovitsError):
    """The engine gave nothing for too long."""

    code = "synthesis_timeout"
    retryable = True


class NoAudio(SovitsError):
    """The engine ended a sentence that can be spoken without a sample of it."""

    code = "no_audio"
    retryable = True


class Speech:
    """Starts the synthesis of each sentence in turn, a few ahead of delivery, and keeps order.

    Attributes:
        engine_s: Time its sentences were in the engine, summed.
        busy_s: Time the networks worked for them, their share of every batch.
    """

    def __init__(self, services: Services, *, utterance_id: str, seed: int) -> None:
        self._services = services
        self._utterance_id = utterance_id
        self._seed = seed
        self._planned: asyncio.Queue[Planned] = asyncio.Queue()
        self._ready: asyncio.Queue[Planned] = asyncio.Queue()
        self._slots = asyncio.Semaphore(_AHEAD)
        self.engine_s = 0.0
        self.busy_s = 0.0

    def plan(self, planned: Planned) -> None:
        """Add the next sentence or mark."""
        self._planned.put_nowait(planned)

    async def next(self) -> Planned:
        """Return the next sentence or mark whose turn it is to be delivered."""
        return await self._ready.get()

    def delivered(self) -> None:
        """Make room for another sentence."""
        self._slots.release()

    async def next_chunk(self, spoken: SpokenSentence) -> AudioChunk | None:
        """Return the next chunk of the sentence that is due, None after the last.

        Raises:
            SynthesisTimeout: If none comes.
            NoAudio: If it ended before its first.
        """
        limit_s = self._services.synthesis_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                chunk = await spoken.chunks.get()
        except TimeoutError:
            text = f"sentence {spoken.sentence.index} gave no audio for {limit_s:g} s"
            raise SynthesisTimeout(text) from None
        if chunk is None and spoken.phonemes is not None and not spoken.has_begun:
            raise NoAudio(f"sentence {spoken.sentence.index} gave no audio")
        spoken.has_begun |= chunk is not None
        return chunk

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start sentences until the text ends."""
        while True:
            planned = await self._planned.get()
            if isinstance(planned, SpokenSentence):
                await self._slots.acquire()
                await self._start(planned, group)
            self._ready.put_nowait(planned)
            if isinstance(planned, TextEnd):
                return

    async def _start(self, spoken: SpokenSentence, group: asyncio.TaskGroup) -> None:
        text, settings = spoken.sentence.text, spoken.settings
        if text.strip():
            phonemes = await self._services.frontend.phonemize(
                text, Language(settings.lang), digits=settings.digits
            )
            if len(phonemes):
                spoken.phonemes = phonemes
                name = f"sentence-{spoken.sentence.index}"
                group.create_task(self._synthesize(spoken, self._job(spoken, phonemes)), name=name)
                return
        spoken.chunks.put_nowait(None)

    async def _synthesize(self, spoken: SpokenSentence, job: SentenceJob) -> None:
        started = self._services.clock()
        async with self._services.engine.synthesize(job) as chunks:
            async for chunk in chunks:
                self.busy_s += chunk.busy_s
                spoken.chunks.put_nowait(chunk)
        spoken.chunks.put_nowait(None)
        self.engine_s += self._services.clock() - started

    def _job(self, spoken: SpokenSentence, phonemes: Phonemes) -> SentenceJob:
        settings = spoken.settings
        params = SynthesisParams(
            **sampling_of(settings, self._services.engine.info.sampling),
            speed=settings.speed,
            noise_scale=settings.noise_scale,
            seed=self._seed,
            mode=StreamMode(settings.mode),
            leading_silence_ms=settings.leading_silence_ms,
        )
        return SentenceJob(
            job_id=self._services.new_job_id(),
            utterance_id=self._utterance_id,
            sentence_index=spoken.sentence.index,
            phonemes=phonemes,
            voice_id=settings.voice,
            style=settings.style,
            params=params,
            pause_ms=spoken.sentence.pause_ms,
            priority=Priority(settings.priority),
        )


def sampling_of(settings: Settings, model: Sampling) -> dict[str, Any]:
    """Return how `settings` sample, with the model's own where they do not say."""
    own = asdict(model)
    chosen = {name: getattr(settings, name) for name in own}
    return own | {name: value for name, value in chosen.items() if value is not None}
