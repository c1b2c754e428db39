"""Servers whose every message and time is written down, for sessions on a virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from bench.clocks import Clocks, measure
from bench.decode import AudioFormat
from bench.recording import Clock
from bench.targets.base import Line, TargetConfig, WireClosed
from bench.targets.http import Answer, HttpDialect, HttpSession, Request
from bench.targets.sockets import Dialect, SocketSession
from engine.types import FloatArray
from server.frames import AudioPacket, pack
from tests.virtual_time import run

RATE_HZ = 24000
CONFIG = TargetConfig("http://server", format=AudioFormat("pcm_s16le", RATE_HZ))
TWO_MS = 0.002


def speech(seconds: float, seed: int = 1, loudness: float = 0.1) -> FloatArray:
    """Return noise as loud as speech: no part of it is like another."""
    count = round(seconds * RATE_HZ)
    noise = np.random.default_rng(seed).normal(scale=loudness, size=count)
    return np.clip(noise, -1, 1).astype(np.float32)


def silence(seconds: float) -> FloatArray:
    """Return samples that are zero."""
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def pcm(samples: FloatArray) -> bytes:
    """Return samples as they are on the wire."""
    return np.round(samples * 32767).astype("<i2").tobytes()


@dataclass(frozen=True, slots=True)
class Say:
    """The server's next message, so long after the trigger or the message before it."""

    after_s: float
    message: str | bytes


class ScriptedWire:
    """A Wire. Once the client has sent what the trigger wants, the script runs, once per trigger.

    Attributes:
        sent: What the client sent, and when.
    """

    def __init__(
        self, scripts: Sequence[tuple[Callable[[str | bytes], bool], Sequence[Say]]]
    ) -> None:
        self._scripts = list(scripts)
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.sent: list[tuple[float, str | bytes]] = []

    async def send(self, data: str | bytes) -> None:
        """See Wire."""
        self.sent.append((asyncio.get_running_loop().time(), data))
        for trigger, script in list(self._scripts):
            if trigger(data):
                self._scripts.remove((trigger, script))
                self._tasks.append(asyncio.create_task(self._play(script)))

    async def _play(self, script: Sequence[Say]) -> None:
        due_s = asyncio.get_running_loop().time()
        for say in script:
            due_s += say.after_s
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            self._inbox.put_nowait(say.message or None)

    async def receive(self) -> str | bytes:
        """See Wire. An empty message closes the connection."""
        message = await self._inbox.get()
        if message is None:
            raise WireClosed("1006")
        return message

    async def close(self) -> None:
        """See Wire."""
        for task in self._tasks:
            task.cancel()


def holds(text: str) -> Callable[[str | bytes], bool]:
    """Return a trigger: the client's message contains this."""
    return lambda data: text in (data if isinstance(data, str) else data.decode("latin1"))


def speak(dialect: Dialect, wire: Callable[[], ScriptedWire], line: Line) -> Clocks:
    """Speak one line on a virtual clock and return what was measured."""

    async def main() -> Clocks:
        loop = asyncio.get_running_loop()
        session = SocketSession(dialect, wire(), loop.time)
        recording = await session.speak(line)
        await session.close()
        return measure(recording)

    return run(main())


class Packets:
    """Numbers packets of the native protocol."""

    def __init__(self, alias: int = 1) -> None:
        self._alias = alias
        self.seq = 0
        self.pts = 0

    def __call__(self, samples: FloatArray, *, seq: int | None = None) -> bytes:
        """Return the next binary message."""
        number = self.seq if seq is None else seq
        duration = len(samples) * 48000 // RATE_HZ
        packet = AudioPacket(pcm(samples), number, self.pts, duration, 0)
        self.seq = number + 1
        self.pts += duration
        return pack(packet, self._alias)


def started(ctx: str = "bench-1") -> str:
    """Return the native message before the first packet."""
    return json.dumps(
        {
            "type": "context.started",
            "ctx": ctx,
            "alias": 1,
            "codec": "pcm_s16le",
            "rate": RATE_HZ,
        }
    )


def done(total_s: float, ctx: str = "bench-1") -> str:
    """Return the native message after the last packet."""
    total = round(48000 * total_s)
    return json.dumps({"type": "context.done", "ctx": ctx, "total_samples48": total})


class ScriptedPost:
    """A Post that answers with pieces of a body at their times."""

    def __init__(self, pieces: Sequence[tuple[float, bytes]], *, status: int = 200) -> None:
        self._pieces = pieces
        self._status = status
        self.requests: list[Request] = []

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[Answer]:
        """See Post."""
        self.requests.append(request)
        yield ScriptedAnswer(self._pieces, self._status)

    async def close(self) -> None:
        """See Post."""


class ScriptedAnswer:
    """See ScriptedPost."""

    def __init__(self, pieces: Sequence[tuple[float, bytes]], status: int) -> None:
        self._pieces = pieces
        self.status = status

    async def chunks(self) -> AsyncIterator[bytes]:
        """See Answer. An empty piece cuts the connection."""
        for after_s, piece in self._pieces:
            await asyncio.sleep(after_s)
            if not piece:
                raise WireClosed("cut off")
            yield piece


def post(dialect: HttpDialect, answer: ScriptedPost, line: Line) -> Clocks:
    """Speak one line through HTTP on a virtual clock and return what was measured."""

    async def main() -> Clocks:
        clock: Clock = asyncio.get_running_loop().time
        return measure(await HttpSession(dialect, answer, clock).speak(line))

    return run(main())
