"""Whether the engine still speaks: by what it spoke last, or by a short sentence nobody hears."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

from engine.client import EngineClient
from engine.errors import SovitsError, VoiceError
from engine.types import Language, Priority, SentenceJob, SynthesisParams
from server.services import Services

logger = logging.getLogger(__name__)

_FRESH_S = 2.0  # what it spoke less than this ago needs no other proof
# A test has to be rare where it is dear (a full-size network on a CPU): this many times its length
# pass before the next one, so that it takes a fiftieth of the machine and of a listener's luck.
_REST = 50.0
_STALE_S = 60.0  # what it spoke longer ago proves nothing
_LIMIT_S = 10.0  # for one test
_UTTERANCE = "self-test"
_TEXT = "好。"  # Chinese is spoken by every pack


class SelfTest:
    """Nothing runs by itself: a server that nobody asks, or that speaks, tests nothing.

    Attributes:
        num_runs: Tests begun and tests ended, summed: their sentences are no listener's.
    """

    def __init__(self) -> None:
        self.num_runs = 0
        self._task: asyncio.Task[bool] | None = None
        self._took_s = 0.0

    async def passes(self, services: Services) -> bool:
        """Return True if the engine spoke lately, or does when it is asked to."""
        engine, clock = services.engine, services.clock
        if clock() - engine.last_audio_s < min(max(_FRESH_S, _REST * self._took_s), _STALE_S):
            return True
        if not engine.voices:
            return True  # there is nothing to speak with, which is no fault of the engine
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(services), name="self-test")
        # Shielded: whoever asked may hang up while others wait for the same answer.
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        """End a test that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, services: Services) -> bool:
        began_s = services.clock()
        self.num_runs += 1
        try:
            async with asyncio.timeout(_LIMIT_S):
                await _speak(services)
        except (SovitsError, TimeoutError) as error:
            logger.error("the self-test failed", extra={"error": str(error) or "timed out"})
            return False
        finally:
            self.num_runs += 1
            services.engine.forget(_UTTERANCE)
        self._took_s = services.clock() - began_s
        return True


async def _speak(services: Services) -> None:
    """Go the whole way of a sentence, text to audio, with the first voice that is whole."""
    phonemes = await services.frontend.phonemize(_TEXT, Language.ZH)
    engine: EngineClient = services.engine
    damaged: VoiceError | None = None
    for voice in engine.voices.values():
        job = SentenceJob(
            job_id=services.new_job_id(),
            utterance_id=_UTTERANCE,
            sentence_index=0,
            phonemes=phonemes,
            voice_id=voice.id,
            style=voice.styles[0],
            params=SynthesisParams(**asdict(engine.info.sampling)),
            priority=Priority.BATCH,  # whoever listens goes first
        )
        try:
            async with engine.synthesize(job) as chunks:
                async for _ in chunks:
                    pass
            return
        except VoiceError as error:
            damaged = error
    if damaged is not None:
        raise damaged
