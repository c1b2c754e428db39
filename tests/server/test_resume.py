"""A broken session is taken up again: what was missed follows, what nobody wants is given up."""

from __future__ import annotations

import asyncio

import pytest

from server import session
from server.frames import Flags
from tests.fakes import Script
from tests.server.live import Client, serve


async def broken(client: Client) -> None:
    """Lose the connection without a word."""
    client.ws.transport.abort()
    await client.rest()


async def test_a_broken_session_is_resumed() -> None:
    """Packets go on where the client was, none missing, those sent before are marked."""
    async with serve("audio.lead_ms=300", script=Script(step_s=0.005)) as live:
        async with live.session() as client:
            await client.send("context.open", ctx="a", resume_ok=True)
            await client.send("text", ctx="b", text="Seven eight nine ten eleven twelve.")
            await client.send("text", ctx="a", text="One two three four five six.", end=True)
            alias = (await client.next("context.started", ctx="a"))["alias"]
            while len(client.headers(alias)) < 20:
                await client.packet(alias)
            token = client.ready["resume_token"]
            await broken(client)
        had = client.headers(alias)
        last = had[9].seq
        async with live.session() as again:
            await again.send("session.resume", token=token, last={"a": last})
            resumed = await again.next("session.resumed")
            assert resumed["contexts"] == ["a"]
            assert resumed["session_id"] == client.ready["session_id"]
            done = await again.next("context.done")
            assert done["ctx"] == "a"
            headers = again.headers(alias)
            assert headers[0].seq == last + 1
            assert headers[0].flags & Flags.REPLAY
            assert headers[-1].flags & Flags.LAST
            assert not headers[-1].flags & Flags.REPLAY
            packets = sum(len(i[1]) for i in again.log if isinstance(i, tuple))
            assert last + 1 + packets == done["packets"]
            await again.send("text", ctx="c", text="One.", end=True)
            await again.next("context.done", ctx="c")
            assert len(live.runtime.parking) == 1
        await live.runtime.wait_empty()
        assert len(live.runtime.parking) == 0
        assert not live.engine.active


async def test_resuming_takes_over_a_socket_that_only_seems_open() -> None:
    """The server may notice a dead peer later than the client."""
    async with serve(script=Script(step_s=0.01)) as live, live.session() as client:
        await client.send("context.open", ctx="a", resume_ok=True)
        await client.send("text", ctx="a", text="One two three.", end=True)
        await client.packet()
        async with live.session() as again:
            await again.send("session.resume", token=client.ready["resume_token"])
            await again.next("session.resumed")
            assert (await again.next("context.started"))["ctx"] == "a"
            await again.next("context.done")
            assert again.headers()[0].seq == 0


async def test_resume_is_refused() -> None:
    """Unknown token, own token, or after contexts were opened."""
    async with serve() as live, live.session() as other, live.session() as client:
        await client.send("session.resume", token="nonsense")
        assert (await client.next("error"))["code"] == "session_expired"
        await client.send("session.resume", token=client.ready["resume_token"])
        assert (await client.next("error"))["code"] == "session_expired"
        await client.send("text", ctx="a", text="One")
        await client.send("session.resume", token=other.ready["resume_token"])
        assert (await client.next("error"))["code"] == "context_conflict"


async def test_nobody_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the contexts are given up; without resume_ok at once; a goodbye ends it too."""
    monkeypatch.setattr(session, "RESUME_TTL_S", 0.2)
    async with serve(script=Script(step_s=0.05)) as live:
        for is_resumable, is_broken in ((True, True), (False, True), (True, False)):
            async with live.session() as client:
                await client.send("context.open", ctx="a", resume_ok=is_resumable)
                await client.send("text", ctx="a", text="One two three four five six.", end=True)
                await client.packet()
                if is_broken:
                    await broken(client)
            async with asyncio.timeout(5):
                await live.runtime.wait_empty()
            assert not live.engine.active
            assert live.runtime.admission.num_contexts == 0


async def test_a_drain_does_not_wait_for_an_absent_client() -> None:
    """Beyond its deadline."""
    async with serve("server.drain_s=0.2", script=Script(step_s=0.05)) as live:
        async with live.session() as client:
            await client.send("context.open", ctx="a", resume_ok=True)
            await client.send("text", ctx="a", text="One two three four five six seven.")
            await client.packet()
            await broken(client)
        async with asyncio.timeout(5):
            await live.runtime.drain()
            await live.runtime.wait_empty()
