"""What dialects stand on: a context's commands, events and limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from server.context import Audio, Context, ContextEvent, ContextOptions
from server.errors import ClientError
from server.messages import ContextCancelled, ContextDone, ErrorMessage, FlushDone
from server.quotas import Account, Allowance
from server.settings import Format, Settings
from tests.fakes import Script
from tests.server.live import Live, serve

PCM = Settings(voice="anna", format=Format(codec="pcm_s16le", rate=24000), lead_ms=30_000)
LETTER_BYTES = 2 * 2 * 24000 // 25


@asynccontextmanager
async def opened(
    live: Live, settings: Settings = PCM, *, is_unpaced: bool = False
) -> AsyncIterator[Context]:
    """Open a context and let it live."""
    options = ContextOptions(Account("me", Allowance(), lambda: 0.0), "test", 100, is_unpaced)
    context = Context(live.runtime.services, live.runtime.admission, options, settings, ctx="c")
    life = asyncio.create_task(context.run())
    try:
        yield context
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def rest(context: Context) -> list[ContextEvent]:
    """Return the events up to the last one."""
    async with asyncio.timeout(10):
        return [event async for event in context]


def payload(events: list[ContextEvent]) -> bytes:
    """Return all audio of some events."""
    return b"".join(event.payload for event in events if isinstance(event, Audio))


async def test_text_in_pieces_comes_out_as_audio_and_one_end() -> None:
    """Everything appended is spoken; `text` is what offsets in events count."""
    async with serve() as live, opened(live) as context:
        context.append("ab")
        context.append("cd\x00")
        context.end()
        events = await rest(context)
    assert isinstance(events[-1], ContextDone)
    assert len(payload(events)) == 4 * LETTER_BYTES
    assert context.text == "abcd " and context.is_ended


async def test_a_flush_is_answered_while_the_context_goes_on() -> None:
    """FlushDone carries the id, and text may follow."""
    async with serve() as live, opened(live) as context:
        context.append("ab")
        context.flush(7)
        async for event in context:
            if isinstance(event, FlushDone):
                assert event.id == 7
                context.append("cd")
                context.end()
        assert "".join(job.phonemes.normalized_text for job in live.engine.jobs) == "abcd"


async def test_nothing_but_the_end_comes_after_a_cancel() -> None:
    """What was queued is dropped at once; the engine is free; later commands say nothing."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, opened(live) as context:
        context.append("abcdefgh")
        context.flush()
        async for event in context:
            if isinstance(event, Audio):
                break
        context.cancel()
        gate.set()
        context.append("more")
        context.end()
        events = await rest(context)
        assert [type(event) for event in events] == [ContextCancelled]
        assert not live.engine.active
        context.cancel()


async def test_a_cancel_after_everything_was_made_still_ends_it() -> None:
    """The end that was queued gives way to that of the cancel."""
    async with serve() as live:
        options = ContextOptions(Account("me", Allowance(), lambda: 0.0), "test", 100)
        context = Context(live.runtime.services, live.runtime.admission, options, PCM)
        context.append("abc")
        context.end()
        await context.run()
        context.cancel()
        events = await rest(context)
    assert len(events) == 1 and not payload(events)


async def test_text_beyond_the_buffer_is_refused() -> None:
    """Counted is what waits, not what was spoken."""
    async with serve() as live, opened(live) as context:
        context.append("a" * 90)
        with pytest.raises(ClientError, match="valid: up to 100") as refused:
            context.append("b" * 11)
        assert refused.value.code == "buffer_full"
        context.flush()
        async for event in context:
            if isinstance(event, FlushDone):
                context.append("b" * 90)
                context.end()
        assert len(context.text) == 180


async def test_waiting_flushes_are_limited() -> None:
    """Each answer makes room for another."""
    async with serve() as live, opened(live) as context:
        for _ in range(100):
            context.flush()
        with pytest.raises(ClientError, match="100 flushes wait, valid: up to 100") as refused:
            context.flush()
        assert refused.value.code == "buffer_full"
        async for event in context:
            if isinstance(event, FlushDone):
                context.flush()
                context.end()


async def test_a_full_server_is_an_error_event() -> None:
    """With the time to wait, so that it can become a 503."""
    async with serve("server.limits.max_active_contexts=1") as live:
        async with opened(live) as first, opened(live) as second:
            first.append("a")
            second.append("a")
            second.end()
            events = await rest(second)
    error = events[-1]
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.status) == ("overloaded", 503) and error.retry_after_ms


async def test_an_unpaced_context_goes_as_fast_as_it_is_read() -> None:
    """A minute of audio, although only 100 ms may be ahead of playback."""
    text = "abcdefghijklmnopqrstuvwxyz" * 3
    slow = replace(PCM, lead_ms=100)
    async with serve() as live, opened(live, slow, is_unpaced=True) as context:
        context.append(text)
        context.end()
        async with asyncio.timeout(4):
            events = await rest(context)
    assert len(payload(events)) == len(text) * LETTER_BYTES
