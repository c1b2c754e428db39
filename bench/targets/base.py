"""What every kind of server is asked to do, and how its adapter is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from bench.decode import AudioFormat
from bench.recording import Clock, Recording


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance to be spoken.

    Attributes:
        tokens: The text in the pieces it is written in; one piece is text as a whole.
        tokens_per_s: How fast they are written; 0: all at once.
        cancel_after_s: Stop it this long after its first audio; None: let it finish.
        late_s: How long it had to wait for its turn.
    """

    tokens: tuple[str, ...]
    tokens_per_s: float = 0.0
    cancel_after_s: float | None = None
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """Where a server is and what is asked of it.

    Attributes:
        writes_tokens: Text comes in pieces of words, so the server has to find the phrases;
            else each message is one.
        options: Fields of the dialect's own request, added to it as they are.
    """

    url: str
    key: str | None = None
    voice: str | None = None
    language: str | None = None
    format: AudioFormat = AudioFormat("pcm_s16le", 24000)
    seed: int | None = None
    writes_tokens: bool = False
    options: Mapping[str, object] = field(default_factory=dict)


class Session(Protocol):
    """One warm connection, which speaks one line at a time."""

    async def speak(self, line: Line) -> Recording:
        """Speak a line and record what came back; what goes wrong is in the recording."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


OpenSession: TypeAlias = Callable[[], Awaitable[Session]]


class WireClosed(Exception):
    """The connection is gone; the text says why."""


class Refused(Exception):
    """The server or the connection is against it; the text says why."""


class Wire(Protocol):
    """A connection of messages."""

    async def send(self, data: str | bytes) -> None:
        """Send one message; raises WireClosed."""
        ...

    async def receive(self) -> str | bytes:
        """Return the next message; raises WireClosed."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


async def written(line: Line, recording: Recording, clock: Clock) -> AsyncIterator[str]:
    """Yield the tokens at their times and record when; the times do not drift."""
    started_s = clock()
    for number, token in enumerate(line.tokens):
        if line.tokens_per_s > 0:
            await asyncio.sleep(max(0.0, started_s + number / line.tokens_per_s - clock()))
        recording.texts.append((clock(), token))
        yield token
