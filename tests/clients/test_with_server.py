"""The client and `say` against our running server with the scripted engine."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest
import soundfile

from clients import say
from clients.command_line import EXIT_ARGUMENTS
from clients.errors import ConnectFailed, ServerError
from clients.events import AudioPacket, ContextCancelled, ContextDone, Event, SegmentStarted
from clients.save import SampleStream
from clients.stream_client import StreamClient
from server.admission import hash_key
from tests.server.live import Live, serve

TEXT = "你好，欢迎来到直播间。今天 iPhone 15 只要 4999.9 元！"


async def events_of(client: StreamClient, text: str, **settings: object) -> list[Event]:
    context = await client.open(**settings)
    for ch in text:
        await context.send_text(ch)
    await context.end()
    return [event async for event in context]


async def test_text_comes_back_as_audio_of_exact_length() -> None:
    """Segments join to the text, packets are numbered, decoded and trimmed they have the total."""
    async with serve() as live, StreamClient(live.http) as client:
        received = await events_of(client, TEXT, lead_ms=0)
    assert "".join(e.text for e in received if isinstance(e, SegmentStarted)) == TEXT
    packets = [event for event in received if isinstance(event, AudioPacket)]
    assert [packet.seq for packet in packets] == list(range(len(packets)))
    assert packets[-1].is_last
    done = received[-1]
    assert isinstance(done, ContextDone) and done.packets == len(packets)
    context = received[0]
    samples = SampleStream(context)  # type: ignore[arg-type]
    data = b"".join(map(samples.add, packets)) + samples.finish(done.total_samples48)
    assert len(data) // 2 == done.total_samples48 // 2  # at 24 kHz


async def test_contexts_of_one_session_and_ping() -> None:
    """Several at once, each whole."""
    async with serve() as live, StreamClient(live.http) as client:
        runs = [events_of(client, TEXT, lead_ms=0) for _ in range(3)]
        results = await asyncio.gather(*runs)
        assert await client.ping() < 5
    assert all(isinstance(result[-1], ContextDone) for result in results)


async def test_cancel_is_answered() -> None:
    """What was spoken and what was not make up the text."""
    async with serve() as live, StreamClient(live.http) as client:
        context = await client.open()
        await context.send_text(TEXT)
        last: Event | None = None
        async for event in context:
            last = event
            if isinstance(event, AudioPacket) and event.seq == 3:
                await context.cancel(played_ms=20)
    assert isinstance(last, ContextCancelled)
    assert last.text_spoken + last.text_remaining == TEXT


async def test_unknown_voice_is_an_error_of_its_context() -> None:
    """The session goes on."""
    async with serve() as live, StreamClient(live.http) as client:
        with pytest.raises(ServerError, match="voice_not_found"):
            await events_of(client, TEXT, voice="nobody")
        assert isinstance((await events_of(client, "你好。"))[-1], ContextDone)


async def test_missing_key_is_refused_before_the_session(tmp_path: Path) -> None:
    """With the status."""
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hash_key('sesame')}\n")
    async with serve(f"server.keys_file={keys}") as live:
        with pytest.raises(ConnectFailed) as caught:
            await StreamClient(live.http).__aenter__()
        async with StreamClient(live.http, "sesame") as client:
            assert client.ready.session_id
    assert caught.value.status == 401


async def run_say(live: Live, *arguments: str, text: str = TEXT) -> int:
    parser = argparse.ArgumentParser()
    say.add_arguments(parser)
    args = parser.parse_args([text, "--url", live.http, *arguments])
    return await asyncio.to_thread(say.run, args)


@pytest.mark.parametrize("name", ["a.wav", "a.opus"])
async def test_say_writes_what_was_spoken(name: str, tmp_path: Path) -> None:
    """The same audio is equally long in both formats."""
    path = tmp_path / name
    async with serve() as live:
        assert await run_say(live, "--out", str(path), "--quiet") == 0
        async with StreamClient(live.http) as client:
            done = (await events_of(client, TEXT, lead_ms=0))[-1]
    assert isinstance(done, ContextDone)
    assert soundfile.info(path).duration == done.total_samples48 / 48000


async def test_say_of_marks_alone_is_an_error_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server's moment of silence is for clients that take no audio for a failure."""
    path = tmp_path / "a.wav"
    async with serve() as live:
        status = await run_say(live, "--out", str(path), text="!!! ###")
    assert status == EXIT_ARGUMENTS
    assert capsys.readouterr().err == "error: nothing to speak in text '!!! ###'\n"
    assert not path.exists()


async def test_marks_among_sentences_do_not_disturb(tmp_path: Path) -> None:
    """They are passed over; what can be spoken is."""
    path = tmp_path / "a.wav"
    async with serve() as live:
        assert await run_say(live, "--out", str(path), text="!!! ###\n\nHello there.\n\n###") == 0
    assert soundfile.info(path).duration > 0.2
