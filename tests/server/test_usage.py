"""What a context cost, from the networks to the wire."""

from __future__ import annotations

import asyncio

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from engine.types import SentenceJob
from tests.engine.jobs import make_job
from tests.server.live import serve


async def test_engine_time_is_shared_by_those_in_a_batch() -> None:
    """What three jobs are told adds up to what the networks worked; nobody pays for all."""
    script = FakeScript(prefill_s=0.005, step_s=0.004, vocode_per_frame_s=0.0002)
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    await engine.start()
    try:

        async def cost(job: SentenceJob) -> float:
            async with engine.synthesize(job) as chunks:
                return sum([chunk.busy_s async for chunk in chunks])

        before = (await engine.stats()).busy_s
        costs = await asyncio.gather(*(cost(make_job(utterance=f"u{n}")) for n in range(3)))
        worked = (await engine.stats()).busy_s - before
    finally:
        await engine.close()
    assert 0.95 * worked <= sum(costs) <= 1.001 * worked
    assert max(costs) < 0.6 * worked


async def test_the_client_is_told_what_it_cost() -> None:
    """`usage.engine_ms` of `context.done`."""
    script = FakeScript(step_s=0.002, tokens_per_phoneme=1)
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    async with serve("audio.voice=fake", engine=engine) as live:  # type: ignore[arg-type]
        async with live.session() as client:
            await client.send("text", ctx="a", text="One two three.", end=True)
            usage = (await client.next("context.done"))["usage"]
    assert usage["chars"] == 14
    assert 20 <= usage["engine_ms"] < 5000
