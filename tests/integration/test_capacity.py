"""What an engine says of its own cost, and what the server concludes from it."""

from __future__ import annotations

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from engine.types import FRAMES_PER_TOKEN, TOKEN_HZ
from server.capacity import Capacity
from tests.server.live import serve

TEXT = "One two three four five six seven eight nine ten eleven twelve. "
SCRIPT = FakeScript(num_slots=2, step_s=0.0005, vocode_per_frame_s=0.0004)


async def test_an_engine_tells_what_its_lanes_cost() -> None:
    """Steps by batch size, vocoding, and the whole; so many can be fed and no more."""
    engine = ThreadEngine(EngineConfig(backend="fake", num_slots=2, fake=SCRIPT))
    async with serve(engine=engine) as live, live.session() as client:  # type: ignore[arg-type]
        await client.send("context.open", ctx="a", lead_ms=0)
        await client.send("text", ctx="a", text=3 * TEXT, end=True)
        await client.next("context.done")
        stats = await engine.stats()
    assert stats.audio_s > 10
    assert stats.step_s_by_batch.keys() == stats.steps_by_batch.keys()
    for size, count in stats.steps_by_batch.items():
        assert stats.step_s_by_batch[size] >= count * SCRIPT.step_s
    frames = stats.tokens * FRAMES_PER_TOKEN
    assert stats.acoustic_busy_s >= 0.9 * frames * SCRIPT.vocode_per_frame_s
    parts = stats.acoustic_busy_s + sum(stats.step_s_by_batch.values())
    assert parts <= stats.busy_s + 1e-6
    capacity = Capacity()
    capacity.observe(stats, engine.info.num_slots)
    most = 0.9 / (TOKEN_HZ * FRAMES_PER_TOKEN * SCRIPT.vocode_per_frame_s)
    # Fewer where the machine is busy, never more.
    assert (capacity.streams or 1) <= most * stats.audio_s / (stats.tokens / TOKEN_HZ)
