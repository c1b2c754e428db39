"""The same clocks over a real socket, where only generous margins hold on a busy machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.clocks import measure
from bench.targets.base import Line
from bench.targets.connect import opener
from tests.bench.scripted import CONFIG, Packets, done, speech, started

FIRST_S, GAP_S, PACKETS = 0.3, 0.1, 5


async def _serve(socket: ServerConnection) -> None:
    await socket.send(json.dumps({"type": "ready", "session_id": "s"}))
    loop = asyncio.get_running_loop()
    async for message in socket:
        kind = json.loads(message)["type"]
        if kind == "context.open":
            await socket.send(started())
        if kind == "text":
            due_s, make = loop.time() + FIRST_S, Packets()
            for number in range(PACKETS):
                await asyncio.sleep(due_s + number * GAP_S - loop.time())
                await socket.send(make(speech(0.1, number)))
            await socket.send(done(0.1 * PACKETS))


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that speaks after 300 ms, in steps of 100 ms."""
    async with serve(_serve, "127.0.0.1", 0, subprotocols=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.slow
async def test_clocks_over_a_real_socket(url: str) -> None:
    """Not before the script ever, and 150 ms after it at most."""
    session = await opener("native", replace(CONFIG, url=url))()
    try:
        found = measure(await session.speak(Line(("Hello.",))))
    finally:
        await session.close()
    assert found.error == "" and found.problems == ()
    for value in (found.first_byte_s, found.first_frame_s, found.first_audible_s):
        assert value is not None and FIRST_S - 0.002 <= value <= FIRST_S + 0.15
    assert found.wall_s == pytest.approx(FIRST_S + GAP_S * (PACKETS - 1), abs=0.15)
