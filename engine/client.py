"""The engine as the server sees it: one interface, in a thread or in a process of its own.

`async with engine.synthesize(job) as chunks:` is the whole life of a sentence; leaving the block
cancels it. Nothing torch crosses this border.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from engine.model_config import SymbolSet
from engine.types import AudioChunk, Language, Sampling, SentenceJob


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """What may be said of a voice to anybody."""

    id: str
    language: Language  # of its default reference
    styles: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine is, known once it is ready."""

    pack: str
    family: str
    fingerprint: str
    symbol_set: SymbolSet
    sample_rate_hz: int
    num_slots: int
    backend: Mapping[str, str]  # runtime, device, precision ... really in use
    notice: str = ""  # "random weights, no speech", or ""
    sampling: Sampling = Sampling()  # the pack's, for requests that do not say
    languages: tuple[Language, ...] = ()  # the pack was trained on; empty if that is not known


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since the engine started, and gauges of now."""

    jobs_done: int = 0
    jobs_failed: int = 0
    jobs_cancelled: int = 0
    jobs_collapsed: int = 0  # the collapse guard stepped in
    tokens: int = 0
    audio_s: float = 0.0
    busy_s: float = 0.0  # the lanes' time in networks and in drawing tokens
    acoustic_busy_s: float = 0.0  # of it, the acoustic lane's; the rest is the semantic lane's
    slots_used: int = 0
    jobs_waiting: int = 0
    restarts: int = 0
    steps_by_batch: Mapping[int, int] = field(default_factory=dict)
    step_s_by_batch: Mapping[int, float] = field(default_factory=dict)  # time in those steps


class EngineClient(Protocol):
    """See the module docstring. All methods are for one event loop."""

    @property
    def info(self) -> EngineInfo:
        """What is loaded; only after `start`."""
        ...

    @property
    def is_ready(self) -> bool:
        """True when warmed up and alive."""
        ...

    @property
    def last_audio_s(self) -> float:
        """When it last gave audio, on `time.monotonic`; at its start the warm-up counts."""
        ...

    @property
    def voices(self) -> Mapping[str, VoiceInfo]:
        """Voices that can be spoken with, by id."""
        ...

    async def start(self) -> None:
        """Load, warm up with a real synthesis, and return when ready.

        Raises:
            SovitsError: What keeps it from starting.
        """
        ...

    async def close(self) -> None:
        """Stop; open syntheses end with EngineFailed."""
        ...

    def synthesize(
        self, job: SentenceJob
    ) -> AbstractAsyncContextManager[AsyncIterator[AudioChunk]]:
        """Speak one sentence; iterate its chunks in order, the last has `is_final`.

        Raises:
            VoiceError: Unknown voice or style.
            Overloaded: No capacity now.
            EngineFailed: The engine broke or died (retryable).
        """
        ...

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """Allow an utterance `audio_s` seconds of audio in all, counted from its first sample.

        Backpressure: an utterance that reached its grant waits and holds nobody up. Until the
        first call it is unlimited.
        """
        ...

    def forget(self, utterance_id: str) -> None:
        """Drop what is kept about a finished utterance (its grant and playout clock)."""
        ...

    async def reload_voices(self) -> None:
        """Read the voices directory again."""
        ...

    async def stats(self) -> EngineStats:
        """Return counters and gauges."""
        ...
