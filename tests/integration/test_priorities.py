"""Classes of urgency from the socket to the engine's slot and back: who is heard first."""

from __future__ import annotations

from functools import partial

import pytest

from engine import build
from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from engine.worker import Worker
from tests.server.live import Client, serve

LONG = "One two three four five six seven eight nine ten eleven twelve."
SHORT = "One two."


async def first_heard(client: Client, ctxs: list[str]) -> list[str]:
    """Return contexts in the order of their first packets."""
    order: list[str] = []
    while len(order) < len(ctxs):
        message = await client.receive()
        if isinstance(message, tuple):
            started = [m for m in client.log if isinstance(m, dict) and "alias" in m]
            name = {m["alias"]: m["ctx"] for m in started}[message[0].alias]
            if name in ctxs and name not in order:
                order.append(name)
    return order


async def test_the_urgent_are_heard_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot, taken; who asks for it last and is a telephone call gets it first.

    The engine's clock stands still: all have arrived at the same moment, however busy the machine
    is that runs this.
    """
    monkeypatch.setattr(build, "Worker", partial(Worker, clock=lambda: 100.0))
    config = EngineConfig(backend="fake", num_slots=1, fake=FakeScript(num_slots=1, step_s=0.002))
    engine = ThreadEngine(config)
    async with serve(engine=engine) as live, live.session() as client:  # type: ignore[arg-type]
        await client.send("text", ctx="holder", text=LONG, end=True)
        await client.packet()
        for priority in ("batch", "live", "telephony"):
            await client.send("context.open", ctx=priority, priority=priority)
            await client.send("text", ctx=priority, text=SHORT, end=True)
        order = await first_heard(client, ["batch", "live", "telephony"])
    assert order == ["telephony", "live", "batch"]
