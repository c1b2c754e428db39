"""Speaks through a WebSocket in any dialect: sends text as it is written, records what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bench.decode import AudioFormat
from bench.recording import Arrival, Clock, Recording
from bench.targets.base import Line, Refused, Wire, WireClosed, written

LIMIT_S = 120.0  # for one utterance
QUIET_S = 0.5  # after a cancel, to be sure that nothing comes any more
Message: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where a dialect connects, and with what."""

    url: str
    headers: Mapping[str, str]
    subprotocols: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The utterance was accepted; `format` is the server's word on the audio, if it has one."""

    format: AudioFormat | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio bytes."""

    payload: bytes
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more comes."""

    declared_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The cancel was heard."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The server is against it."""

    reason: str


Heard: TypeAlias = Started | Audio | Done | Cancelled | Failed


class Dialect(Protocol):
    """What is said on one kind of socket. It has no socket and no clock.

    Attributes:
        format: Of the audio that was asked for.
        is_announced: True if the server says that an utterance started before it may be given text.
        is_greeted: True if the server speaks first.
    """

    format: AudioFormat
    is_announced: bool
    is_greeted: bool

    def address(self) -> Address:
        """Return where to connect."""
        ...

    def begin(self) -> Sequence[Message]:
        """Return what opens the next utterance."""
        ...

    def text(self, token: str) -> Sequence[Message]:
        """Return what adds text."""
        ...

    def end(self) -> Sequence[Message]:
        """Return what says that there is no more text."""
        ...

    def cancel(self) -> Sequence[Message]:
        """Return what stops the utterance."""
        ...

    def hear(self, message: Message) -> Sequence[Heard]:
        """Return what a message says of the current utterance."""
        ...


class SocketSession:
    """See Session. One utterance at a time on one connection."""

    def __init__(self, dialect: Dialect, wire: Wire, clock: Clock) -> None:
        self._dialect = dialect
        self._wire = wire
        self._clock = clock

    async def greet(self) -> None:
        """Wait for the server's first word, where it has one.

        Raises:
            Refused: It says nothing.
            WireClosed: It closes.
        """
        if self._dialect.is_greeted:
            try:
                async with asyncio.timeout(LIMIT_S):
                    await self._wire.receive()
            except TimeoutError:
                raise Refused(f"no greeting after {LIMIT_S:.0f} s") from None

    async def close(self) -> None:
        """See Session."""
        await self._wire.close()

    async def speak(self, line: Line) -> Recording:
        """See Session."""
        recording = Recording(self._dialect.format, late_s=line.late_s)
        heard = asyncio.Event()
        helpers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._send(self._dialect.begin())
                if self._dialect.is_announced:
                    await self._wait_for_start(recording)
                helpers.append(asyncio.create_task(self._write(line, recording)))
                if line.cancel_after_s is not None:
                    stop = self._stop(line.cancel_after_s, heard, recording)
                    helpers.append(asyncio.create_task(stop))
                await self._listen(recording, heard)
        except (WireClosed, Refused) as error:
            recording.error = str(error) or type(error).__name__
        except TimeoutError:
            recording.error = f"no end after {LIMIT_S:.0f} s"
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        return recording

    async def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._wire.send(message)

    async def _write(self, line: Line, recording: Recording) -> None:
        async for token in written(line, recording, self._clock):
            await self._send(self._dialect.text(token))
        await self._send(self._dialect.end())

    async def _stop(self, after_s: float, heard: asyncio.Event, recording: Recording) -> None:
        await heard.wait()
        await asyncio.sleep(after_s)
        recording.cancelled_s = self._clock()
        await self._send(self._dialect.cancel())

    async def _wait_for_start(self, recording: Recording) -> None:
        while True:
            for event in self._dialect.hear(await self._wire.receive()):
                if isinstance(event, Failed):
                    raise Refused(event.reason)
                if isinstance(event, Started):
                    recording.format = event.format or recording.format
                    return

    async def _listen(self, recording: Recording, heard: asyncio.Event) -> None:
        number = 0
        while not recording.is_complete and recording.cancel_confirmed_s is None:
            message = await self._next(recording)
            if message is None:
                return
            at_s = self._clock()  # before anything is done with it
            number += 1
            for event in self._dialect.hear(message):
                match event:
                    case Audio(payload, seq):
                        recording.arrivals.append(Arrival(at_s, number, payload, seq))
                        heard.set()
                    case Started(audio):
                        recording.format = audio or recording.format
                    case Done(declared_s):
                        recording.declared_s = declared_s
                        recording.is_complete = True
                    case Cancelled():
                        recording.cancel_confirmed_s = at_s
                    case Failed(reason):
                        raise Refused(reason)

    async def _next(self, recording: Recording) -> Message | None:
        """Return the next message; None when it stays quiet after a cancel."""
        while True:
            try:
                async with asyncio.timeout(QUIET_S):
                    return await self._wire.receive()
            except TimeoutError:
                cancelled_s = recording.cancelled_s
                if cancelled_s is not None and self._clock() - cancelled_s >= QUIET_S:
                    return None
