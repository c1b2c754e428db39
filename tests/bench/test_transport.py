"""The load bench's judgement, and its listeners against a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession

from bench.listeners import Heard, Listener, Packet, Plan
from bench.transport import audio_figures, cancel_figures, verdict
from tests.fakes import Script
from tests.server.live import serve

RATE_HZ = 8000
SIZE = 160  # samples of 20 ms


def heard(*at_ms: float, asked_ms: float = 0) -> Heard:
    """Return a context whose packets of 20 ms arrived then."""
    packets = [Packet(at / 1000, seq, SIZE) for seq, at in enumerate(at_ms)]
    return Heard(asked_ms / 1000, packets, len(packets), len(packets))


def figures(*contexts: Heard) -> dict[str, Any]:
    """Return the figures of a run without a fault elsewhere."""
    drain = {"whole": 1, "open_contexts": 1, "exit_status": 0}
    return {
        **audio_figures(contexts, RATE_HZ, 0.04),
        "cancel": cancel_figures(contexts),
        "drain": drain,
        "errors": [],
    }


def test_packets_in_time_pass() -> None:
    """A cadence of 20 ms has that gap, and nobody runs dry."""
    found = figures(heard(*range(50, 1050, 20)))
    assert found["gap_s"]["p99"] == pytest.approx(0.02)
    assert found["first_packet_s"]["max"] == pytest.approx(0.05)
    assert verdict(found) == []


def test_a_packet_that_is_too_late_is_an_underrun() -> None:
    """100 ms of buffer, full when its last packet begins, carry 70 ms and not 90 ms."""
    times = list(range(0, 1000, 20))
    assert verdict(figures(heard(*times[:20], *(at + 70 for at in times[20:])))) == []
    found = figures(heard(*times[:20], *(at + 90 for at in times[20:])))
    assert found["underruns"]["gaps"] == 1
    assert verdict(found) == ["1 contexts ran dry with 100 ms"]


def test_a_slow_cancel_and_a_late_message_are_told() -> None:
    """The last byte counts, not the answer alone."""
    slow = heard(*range(0, 200, 20))
    slow.cancelled_s, slow.confirmed_s, slow.declared = 0.1, 0.2, None
    found = figures(slow)
    assert found["cancel"]["last_byte_s"]["max"] == pytest.approx(0.08)
    assert verdict(found) == ["cancel to last byte p95 is over 50 ms"]
    slow.after_end = 2
    assert "2 messages after a context's end" in verdict(figures(slow))


def test_a_lost_a_repeated_and_an_undeclared_packet_are_not_whole() -> None:
    """What a drain may not do."""
    one = heard(0, 20, 40)
    assert one.is_whole
    one.declared = None
    assert not one.is_whole
    lost, repeated = heard(0, 20, 40), heard(0, 20, 40)
    del lost.packets[1]
    repeated.packets.append(repeated.packets[-1])
    assert not lost.is_whole and not repeated.is_whole


@pytest.mark.slow
async def test_listeners_hear_every_packet_and_a_drain_to_its_end() -> None:
    """Contexts one after another, some cancelled, all numbered right; the drain breaks none."""
    script = Script(step_s=0.001)
    async with serve("server.limits.max_active_contexts=8", script=script) as live:
        audio = {"codec": "mulaw", "rate": RATE_HZ, "frame_ms": 20}
        plan = Plan(live.ws, {"format": audio, "lead_ms": 2000}, RATE_HZ, 1, 0.5, 0.0)
        listeners = [Listener(plan, number) for number in range(4)]
        async with ClientSession() as session, asyncio.timeout(90):
            running = [asyncio.create_task(one.run(session, lambda: False)) for one in listeners]
            for _ in range(500):
                if all(len(one.heard) > 2 for one in listeners):
                    break
                await asyncio.sleep(0.02)
            await live.runtime.drain()
            await asyncio.gather(*running)
    contexts = [one for listener in listeners for one in listener.heard]
    assert {one.close_code for one in listeners} == {1012}
    assert all(one.error.startswith("draining") for one in contexts if one.error)
    fine = [one for one in contexts if not one.error]
    assert all(one.is_whole or one.confirmed_s for one in fine)
    assert any(one.confirmed_s for one in fine) and any(one.is_whole for one in fine)
    assert sum(one.after_end for one in contexts) == 0
