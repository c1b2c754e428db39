"""The engine process is killed under a running server: what is open fails, the server goes on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from aiohttp import ClientSession

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.process_engine import ProcessEngine
from tests.server.live import Live, serve

TEXT = "One two three four five six seven eight nine ten."
WAIT_S = 60.0


async def status(live: Live) -> int:
    """Return what `/readyz` answers."""
    async with ClientSession() as http, http.get(live.http + "/readyz") as answer:
        return answer.status


@pytest.mark.slow
async def test_open_contexts_fail_retryably_and_the_next_ones_speak() -> None:
    """-9 in the middle of three contexts of two sessions; nobody reconnects or restarts."""
    config = EngineConfig(backend="fake", fake=FakeScript(step_s=0.005), num_slots=4)
    came_back = asyncio.Event()
    engine = ProcessEngine(config, on_restart=came_back.set)
    async with serve(engine=engine) as live, live.session() as one, live.session() as other:  # type: ignore[arg-type]
        open_contexts = [(one, "a"), (one, "b"), (other, "c")]
        for client, ctx in open_contexts:
            await client.send("text", ctx=ctx, text=TEXT * 3)
            await client.packet((await client.next("context.started", ctx=ctx))["alias"])
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        for client, ctx in open_contexts:
            error = await asyncio.wait_for(client.next("error", ctx=ctx), WAIT_S)
            assert (error["code"], error["retryable"], error["fatal"]) == (
                "engine_failed",
                True,
                True,
            )
        await asyncio.wait_for(came_back.wait(), WAIT_S)
        assert await status(live) == 200
        for client, ctx in ((one, "d"), (other, "e")):
            await client.send("text", ctx=ctx, text=TEXT, end=True)
            done = await asyncio.wait_for(client.next("context.done", ctx=ctx), WAIT_S)
            assert done["total_samples48"] > 48000
        stats = await engine.stats()
        assert (stats.restarts, stats.slots_used) == (1, 0)
