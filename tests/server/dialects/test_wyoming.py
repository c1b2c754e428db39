"""Wyoming over real TCP, with a raw client."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes import Script
from tests.server.live import Live, serve

LETTER_BYTES = 2 * 2 * 24000 // 25
_PATIENCE_S = 10


class Client:
    """Writes and reads events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, kind: str, data: dict[str, Any] | None = None) -> None:
        """Send an event, its data behind the line as the reference library does."""
        body = json.dumps(data or {}).encode()
        head = {"type": kind, "version": "1.5.4", "data_length": len(body)}
        self.writer.write(json.dumps(head).encode() + b"\n" + body)
        await self.writer.drain()

    async def receive(self) -> tuple[str, dict[str, Any], bytes]:
        """Return the next event."""
        async with asyncio.timeout(_PATIENCE_S):
            head = json.loads(await self.reader.readline())
            data = json.loads(await self.reader.readexactly(head.get("data_length", 0)) or "{}")
            payload = await self.reader.readexactly(head.get("payload_length", 0))
        return head["type"], data, payload

    async def until(self, kind: str) -> tuple[list[str], bytes]:
        """Return the types of the events up to one of a type, and their audio."""
        kinds, audio = [], b""
        while not kinds or kinds[-1] != kind:
            name, _, payload = await self.receive()
            kinds.append(name)
            audio += payload
        return kinds, audio


@asynccontextmanager
async def wyoming(script: Script | None = None) -> AsyncIterator[tuple[Live, Client]]:
    """Run a server with this port and connect."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serve(f"dialects.wyoming_port={port}", script=script) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield live, Client(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()


async def test_describes_its_voices() -> None:
    """As Home Assistant asks first."""
    async with wyoming() as (_, client):
        await client.send("describe")
        kind, data, _ = await client.receive()
    program = data["tts"][0]
    assert kind == "info" and program["supports_synthesize_streaming"]
    assert [voice["name"] for voice in program["voices"]] == ["anna", "bob"]


async def test_speaks_a_whole_text() -> None:
    """audio-start, chunks, audio-stop; the voice and its style are those asked for."""
    async with wyoming() as (live, client):
        voice = {"name": "anna", "speaker": "sad"}
        await client.send("synthesize", {"text": "abc", "voice": voice})
        kinds, audio = await client.until("audio-stop")
    assert kinds[0] == "audio-start" and set(kinds[1:-1]) == {"audio-chunk"}
    assert len(audio) == 3 * LETTER_BYTES
    assert (live.engine.jobs[0].voice_id, live.engine.jobs[0].style) == ("anna", "sad")


async def test_speaks_text_that_streams_in_and_not_its_copy() -> None:
    """The `synthesize` for older servers in between is not spoken a second time."""
    async with wyoming() as (live, client):
        await client.send("synthesize-start", {"voice": {"name": "bob"}})
        await client.send("synthesize-chunk", {"text": "abcdefgh. "})
        kind, _, _ = await client.receive()
        assert kind == "audio-start"  # before the text has ended
        await client.send("synthesize-chunk", {"text": "ij."})
        await client.send("synthesize", {"text": "abcdefgh. ij."})
        await client.send("synthesize-stop")
        kinds, _ = await client.until("synthesize-stopped")
        assert kinds[-2:] == ["audio-stop", "synthesize-stopped"]
        await client.send("synthesize", {"text": "abc"})
        await client.until("audio-stop")
    assert sum(len(job.phonemes) for job in live.engine.jobs) == 13


async def test_errors_are_events_and_the_connection_goes_on() -> None:
    """Unknown voice, no text, a broken engine."""
    async with wyoming(Script(fail_text="abcdefgh")) as (_, client):
        for data, code in [
            ({"text": "a", "voice": {"name": "nobody"}}, "voice_not_found"),
            ({"text": 3}, "bad_message"),
            ({"text": "abcdefgh"}, "engine_failed"),
        ]:
            await client.send("synthesize", data)
            while (event := await client.receive())[0] != "error":
                pass
            assert event[1]["code"] == code and event[1]["text"]
        await client.send("ping", {"text": "x"})
        while (event := await client.receive())[0] != "pong":
            pass
        assert event[1] == {"text": "x"}


async def test_a_client_that_hangs_up_frees_the_engine() -> None:
    """Also in the middle of the text it was streaming."""
    async with wyoming(Script(hang_text="abcdefgh. ")) as (live, client):
        await client.send("synthesize-start")
        await client.send("synthesize-chunk", {"text": "abcdefgh. "})
        await client.send("ping")
        client.writer.close()
        await asyncio.wait_for(live.runtime.wait_empty(), _PATIENCE_S)
        assert not live.engine.active and not live.runtime.admission.num_contexts


@pytest.mark.parametrize(
    "line",
    [b"{\n", b"[]\n", b'{"type":"x","data_length":99999999}\n', b"[" * 60_000 + b"\n"],
    ids=["half", "list", "long", "deep"],
)
async def test_nonsense_ends_the_connection(line: bytes) -> None:
    """Nothing of it is guessed at, nothing is allocated for it."""
    async with wyoming() as (_, client):
        client.writer.write(line)
        assert await asyncio.wait_for(client.reader.read(), _PATIENCE_S) == b""


async def test_nonsense_between_chunks_frees_the_engine() -> None:
    """Brackets as deep as a line is long: nobody is left waiting for the rest of the text."""
    async with wyoming() as (live, client):
        await client.send("synthesize-start")
        await client.send("synthesize-chunk", {"text": "abcdefgh"})
        client.writer.write(b"[" * 60_000 + b"\n")
        await client.until("synthesize-stopped")
        assert not live.engine.active and not live.runtime.admission.num_contexts
