"""A server that follows a script, speaking through our server's own encoders of the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from server import frames, messages
from server.encoder import AudioEncoder, EncodedPacket
from tests.clients.chromium import find_chromium, running

READY = messages.Ready(
    session_id="s1",
    server="sovits-live",
    model="tiny",
    version="0",
    limits=messages.PublishedLimits(8, 65536, 8000, 200_000, 60.0, 3600.0, 60_000, 30.0, 50, 10.0),
    load=messages.Load(4),
    sample_rate=32000,
    voices=("default",),
    notice="random weights, no speech",
)


@dataclass
class Peer:
    """The server's end of one connection, for a script to use."""

    socket: ServerConnection
    received: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, message: messages.ServerMessage) -> None:
        await self.socket.send(messages.encode_message(message))

    async def hear(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type came, and return it."""
        async for data in self.socket:
            message: dict[str, Any] = json.loads(data)
            self.received.append(message)
            if message["type"] == kind:
                return message
        raise AssertionError(f"{kind} never came")

    async def start(self, ctx: str, alias: int, encoder: AudioEncoder) -> None:
        await self.say(
            messages.ContextStarted(
                ctx=ctx, alias=alias, codec=str(encoder.codec), rate=encoder.rate_hz,
                frame_ms=encoder.frame_ms, pre_skip=encoder.pre_skip48, voice="default",
                style="default", lang="auto", speed=1.0, seed=1, lead_ms=2000,
            )
        )  # fmt: skip

    async def send_audio(
        self, alias: int, packets: list[EncodedPacket], *, first_seq: int = 0, batch: int = 1
    ) -> None:
        labelled = [
            frames.AudioPacket(p.payload, first_seq + i, p.pts48, p.duration48, 0)
            for i, p in enumerate(packets)
        ]
        for at in range(0, len(labelled), batch):
            await self.socket.send(frames.pack_batch(labelled[at : at + batch], alias))

    async def finish(self, ctx: str, encoder: AudioEncoder, num_packets: int) -> None:
        usage, timings = messages.Usage(chars=5, audio_ms=1000), messages.Timings(50, 1, 0.25, 0)
        await self.say(
            messages.ContextDone(ctx, encoder.total_samples48, num_packets, usage, timings)
        )


Script = Callable[[Peer], Awaitable[None]]


def tone(duration_s: float, rate_hz: int = 32000) -> np.ndarray[Any, np.dtype[np.float32]]:
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (0.4 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


async def speak(peer: Peer) -> None:
    """The ordinary script: one context in the format asked for, one second of a tone."""
    opened = await peer.hear("context.open")
    audio = opened["format"]
    usual = {"opus": 24000, "pcm_s16le": 24000}.get(audio["codec"], 8000)
    encoder = AudioEncoder(audio["codec"], source_hz=32000, rate_hz=audio.get("rate", usual))
    await peer.start(opened["ctx"], 7, encoder)
    await peer.hear("end")
    await peer.say(messages.SegmentStarted(opened["ctx"], 0, "Hello.", 0, 0, 6))
    packets = encoder.encode(tone(1.0)) + encoder.finish()
    await peer.send_audio(7, packets[:1])
    await peer.send_audio(7, packets[1:], first_seq=1, batch=3)
    await peer.finish(opened["ctx"], encoder, len(packets))
    await peer.socket.wait_closed()


@dataclass
class FakeServer:
    """Where scripts are listened for; one script per connection, the last one again."""

    url: str
    peers: list[Peer]


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """Run a browser for all tests and return where it is commanded."""
    if find_chromium() is None:
        pytest.skip("no Chromium is installed")
    with running() as address:
        yield address


@pytest.fixture
def speaking() -> Script:
    """The script that speaks a tone."""
    return speak


@pytest.fixture
def serving() -> Callable[..., Any]:
    """Return an async context manager that serves scripts."""

    @asynccontextmanager
    async def start(*scripts: Script, greeting: str | None = None) -> AsyncIterator[FakeServer]:
        peers: list[Peer] = []

        async def handle(socket: ServerConnection) -> None:
            peer = Peer(socket)
            peers.append(peer)
            await socket.send(messages.encode_message(READY) if greeting is None else greeting)
            await scripts[min(len(peers), len(scripts)) - 1](peer)

        async with serve(
            handle,
            "127.0.0.1",
            0,
            subprotocols=["sovits.tts.v1"],
            compression=None,  # type: ignore[list-item]
        ) as server:
            port = server.sockets[0].getsockname()[1]
            yield FakeServer(f"ws://127.0.0.1:{port}", peers)

    return start
