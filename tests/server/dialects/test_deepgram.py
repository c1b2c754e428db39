"""Deepgram's socket and HTTP route, with raw clients."""

from __future__ import annotations

import asyncio
import io

import pytest
import soundfile
from aiohttp import ClientSession
from websockets.exceptions import InvalidStatus

from tests.fakes import Script
from tests.server.dialects.sockets import int16, peer
from tests.server.live import serve

PATH = "/v1/speak?model=anna&encoding=linear16&sample_rate=24000"
LETTER = 2 * 24000 // 25


def speak(text: str) -> dict[str, str]:
    """Return a Speak message."""
    return {"type": "Speak", "text": text}


FLUSH, CLEAR, CLOSE = {"type": "Flush"}, {"type": "Clear"}, {"type": "Close"}


async def test_metadata_then_audio_then_flushed() -> None:
    """Rule 7: Metadata first, a Flushed for each Flush with rising numbers, all audio before it."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send(speak("ab "), speak("cd"), FLUSH, speak("efg"), FLUSH, FLUSH)
        lengths = []
        for number in range(3):
            flushed = await client.until(type="Flushed")
            assert flushed["sequence_id"] == number
            lengths.append(len(int16(client.bytes())))
        await client.send(CLOSE)
        code, _ = await client.rest()
    assert code == 1000
    assert client.log[0]["type"] == "Metadata" and client.log[0]["model_name"] == "anna"
    assert lengths == [4 * LETTER, 7 * LETTER, 7 * LETTER]


async def test_cleared_is_a_barrier() -> None:
    """Rule 7: not one sample of what was cleared after Cleared, and the next turn is whole."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, peer(live, PATH) as client:
        await client.send(speak("abcdefgh"), FLUSH, speak("never"), FLUSH)
        await client.binary()
        await client.send(CLEAR)
        cleared = await client.until(type="Cleared")
        assert cleared["sequence_id"] == 0
        before = len(client.bytes())
        gate.set()
        assert await client.quiet(0.05)
        assert not live.engine.active
        await client.send(speak("abc"), FLUSH)
        await client.until(type="Flushed")
    assert len(client.bytes()) - before == 2 * 3 * LETTER


async def test_close_speaks_what_was_not_flushed() -> None:
    """Everything said before Close is heard, then 1000."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send(speak("abcd"), CLOSE)
        code, _ = await client.rest()
    assert code == 1000 and len(int16(client.bytes())) == 4 * LETTER


async def test_warnings_are_not_fatal() -> None:
    """A message that makes no sense, a text that is none; the socket goes on."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send({"type": "Dance"})
        await client.until(type="Warning")
        await client.send({"type": "Speak", "text": 3})
        warning = await client.until(type="Warning")
        assert warning["code"] == "BAD_MESSAGE" and warning["description"]
        await client.send(speak("abc"), FLUSH)
        await client.until(type="Flushed")
    assert len(int16(client.bytes())) == 3 * LETTER


async def test_a_broken_turn_is_a_warning_and_the_next_one_is_spoken() -> None:
    """Flushed comes all the same: clients wait for it."""
    async with serve(script=Script(fail_text="abcdefgh")) as live, peer(live, PATH) as client:
        await client.send(speak("abcdefgh"), FLUSH, speak("abc"), FLUSH)
        warning = await client.until(type="Warning")
        assert warning["code"] == "ENGINE_FAILED"
        assert (await client.until(type="Flushed"))["sequence_id"] == 0
        before = len(client.bytes())
        assert (await client.until(type="Flushed"))["sequence_id"] == 1
    assert len(client.bytes()) - before == 2 * 3 * LETTER


async def test_turns_that_wait_are_few() -> None:
    """A client that flushes and flushes while somebody speaks fills no memory."""
    async with serve(script=Script(hang_text="abcdefgh")) as live, peer(live, PATH) as client:
        await client.send(speak("abcdefgh"), FLUSH, *[FLUSH] * 100)
        warning = await client.until(type="Warning")
        assert warning["code"] == "BUFFER_FULL"
        assert warning["description"] == "100 turns wait to be spoken, valid: up to 100"


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_telephone_encodings(encoding: str) -> None:
    """G.711 at 8 kHz, exact to the sample."""
    async with serve() as live:
        async with peer(live, f"/v1/speak?model=anna&encoding={encoding}") as client:
            await client.send(speak("abc"), FLUSH)
            await client.until(type="Flushed")
    assert len(client.bytes()) == 3 * 640


async def test_refusals_come_before_the_upgrade() -> None:
    """Unknown voices and encodings are a status of HTTP."""
    async with serve() as live:
        for path, status in [
            (PATH.replace("anna", "nobody"), 404),
            (PATH.replace("linear16", "opus"), 415),
            (PATH.replace("24000", "12345"), 415),
        ]:
            with pytest.raises(InvalidStatus) as refused:
                async with peer(live, path):
                    pass
            assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        ("", "audio/mpeg"),
        ("&encoding=linear16", "audio/wav"),
        ("&encoding=mulaw", "audio/wav"),
        ("&encoding=flac", "audio/flac"),
        ("&encoding=opus", "audio/ogg"),
        ("&encoding=linear16&container=none", "audio/pcm"),
    ],
)
async def test_http(query: str, content_type: str) -> None:
    """Every encoding in its container; MP3 is this service's default."""
    async with serve() as live, ClientSession() as http:
        url = f"{live.http}/v1/speak?model=alloy{query}"
        async with http.post(url, json={"text": "abc"}) as answer:
            assert (answer.status, answer.content_type) == (200, content_type)
            data = await answer.read()
        async with http.post(url, json={"url": "http://169.254.169.254/"}) as answer:
            assert answer.status == 400 and (await answer.json())["err_msg"]
    if content_type == "audio/wav":
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            assert file.subtype == {"mulaw": "ULAW"}.get(query[10:], "PCM_16")
            assert len(file.read()) == 3 * 2 * file.samplerate // 25
