"""What goes between a server and its engine: the same messages to a thread and to a process.

Commands go in, events come out; all are picklable.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.types import AudioChunk, SentenceJob


@dataclass(frozen=True, slots=True, eq=False)
class Submit:
    """Speak a sentence."""

    job: SentenceJob


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop a job; nothing of it comes out any more."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Allow an utterance this much audio in all."""

    utterance_id: str
    audio_s: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop an utterance's clock."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class ReloadVoices:
    """Read the voices directory again; answered by VoicesLoaded."""


@dataclass(frozen=True, slots=True)
class GetStats:
    """Answered by StatsReport."""


@dataclass(frozen=True, slots=True)
class Close:
    """Stop."""


Command = Submit | Cancel | Grant | Forget | ReloadVoices | GetStats | Close


@dataclass(frozen=True, slots=True)
class Ready:
    """Loaded and warm."""

    info: EngineInfo
    voices: tuple[VoiceInfo, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StartFailed:
    """Could not start, and why."""

    error: Exception


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """A chunk of a job's audio."""

    chunk: AudioChunk


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A job ended with an error."""

    job_id: int
    error: Exception


@dataclass(frozen=True, slots=True)
class VoicesLoaded:
    """The voices there are now."""

    voices: tuple[VoiceInfo, ...]


@dataclass(frozen=True, slots=True)
class StatsReport:
    """Answer to GetStats."""

    stats: EngineStats


Event = Ready | StartFailed | Spoken | Failed | VoicesLoaded | StatsReport
