"""Cartesia's socket and bytes route, with raw clients."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession

from tests.fakes import Script
from tests.server.dialects.sockets import Peer, int16, peer
from tests.server.live import serve

PATH = "/tts/websocket?cartesia_version=2026-08-14"
RATE_HZ = 24000
LETTER = 2 * RATE_HZ // 25
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE_HZ}


def generation(ctx: str, text: str, **fields: object) -> dict[str, Any]:
    """Return a request as pipecat writes it."""
    return {
        "context_id": ctx,
        "model_id": "sonic-3",
        "transcript": text,
        "voice": {"mode": "id", "id": "anna"},
        "output_format": RAW,
        "continue": True,
        **fields,
    }


def kinds(client: Peer, ctx: str) -> list[str]:
    """Return the types of what came for a context."""
    return [m["type"] for m in client.log if m["context_id"] == ctx]


async def test_text_comes_in_pieces_and_ends_with_one_done() -> None:
    """Rule 5: done once, after all timestamps; every message names its context."""
    async with serve() as live, peer(live, PATH) as client:
        for text in ("ab ", "cd. ", "ef."):
            await client.send(generation("c", text, add_timestamps=True))
        await client.send(generation("c", "", **{"continue": False}))
        await client.until(type="done")
        assert await client.quiet(0.05)
    assert kinds(client, "c").count("done") == 1 and client.log[-1]["status_code"] == 200
    samples = int16(client.audio("data"))
    assert (samples != 0).sum() == pytest.approx(6 * LETTER, abs=200)
    stamps = [m["word_timestamps"] for m in client.log if m["type"] == "timestamps"]
    assert "".join(word for stamp in stamps for word in stamp["words"]) == "abcdef"
    starts = [start for stamp in stamps for start in stamp["start"]]
    assert starts == sorted(starts)


async def test_an_empty_transcript_is_done_too() -> None:
    """Rules 5 and 12: a moment of silence, then done."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send(generation("c", "", **{"continue": False}))
        await client.until(type="done")
    samples = int16(client.audio("data"))
    assert 0.02 <= len(samples) / RATE_HZ <= 0.1 and not samples.any()


async def test_after_a_cancel_there_is_silence() -> None:
    """Rule 6: neither done nor error nor a late frame for that context, and the next one works."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, peer(live, PATH) as client:
        await client.send(generation("a", "abcdefgh.", **{"continue": False}))
        await client.until(type="chunk")
        await client.send({"context_id": "a", "cancel": True})
        await client.send(generation("b", "abc", **{"continue": False}))
        gate.set()
        await client.until(type="done", context_id="b")
        assert await client.quiet(0.05)
        first_of_b = next(i for i, m in enumerate(client.log) if m["context_id"] == "b")
        assert all(m["context_id"] == "b" for m in client.log[first_of_b:])
        assert set(kinds(client, "a")) == {"chunk"}
        assert not live.engine.active


async def test_a_flush_is_answered_with_its_number() -> None:
    """After the audio of the text before it."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send(generation("c", "abcd", flush=True))
        flushed = await client.until(type="flush_done")
        assert (flushed["flush_id"], flushed["flush_done"]) == (1, True)
        await client.send(generation("c", "ef", **{"continue": False}))
        await client.until(type="done")
    assert len(int16(client.audio("data"))) == 6 * LETTER


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "bytes_per_letter"),
    [("pcm_f32le", 44100, 14112), ("pcm_mulaw", 8000, 640), ("pcm_alaw", 8000, 640)],
)
async def test_encodings(encoding: str, rate_hz: int, bytes_per_letter: int) -> None:
    """Floats are those of the 16-bit samples; the telephone's codecs are at 8 kHz."""
    audio = {"container": "raw", "encoding": encoding, "sample_rate": rate_hz}
    async with serve() as live, peer(live, PATH) as client:
        await client.send(generation("c", "abc", output_format=audio, **{"continue": False}))
        await client.until(type="done")
    data = client.audio("data")
    assert len(data) == 3 * bytes_per_letter
    if encoding == "pcm_f32le":
        assert abs(float(np.median(np.frombuffer(data, "<f4"))) - 0.1) < 1e-3


async def test_errors_name_the_context_and_leave_the_socket_open() -> None:
    """Unknown voice, missing format, text after the end."""
    async with serve() as live, peer(live, PATH) as client:
        for request, status in [
            (generation("v", "a", voice="nobody"), 404),
            (generation("f", "a", output_format=None), 400),
        ]:
            await client.send(request)
            error = await client.until(type="error")
            assert (error["context_id"], error["status_code"]) == (
                request["context_id"],
                status,
            )
            assert error["title"] and error["message"] and error["done"]
            await client.send(generation("ok" + request["context_id"], "a", **{"continue": False}))
            await client.until(type="done")


async def test_an_engine_failure_is_an_error_of_its_context() -> None:
    """No done follows; another context goes on."""
    async with serve(script=Script(fail_text="abcdefgh")) as live, peer(live, PATH) as client:
        await client.send(generation("bad", "abcdefgh", **{"continue": False}))
        error = await client.until(type="error")
        assert (error["context_id"], error["error_code"]) == ("bad", "engine_failed")
        await client.send(generation("good", "abc", **{"continue": False}))
        await client.until(type="done", context_id="good")


async def test_a_client_that_cuts_itself_is_not_cut_again() -> None:
    """max_buffer_delay_ms 0, as LiveKit sends: each message is one sentence."""
    async with serve() as live, peer(live, PATH) as client:
        text = "abcdefgh, abcdefgh, abcdefgh, abcdefgh. "
        await client.send(generation("c", text, max_buffer_delay_ms=0))
        await client.send(generation("c", "", **{"continue": False}))
        await client.until(type="done")
    assert [job.phonemes.normalized_text.strip() for job in live.engine.jobs] == [text.strip()]


@pytest.mark.parametrize(
    ("container", "head"), [("raw", b""), ("wav", b"RIFF"), ("mp3", b"\xff\xfb")]
)
async def test_bytes_over_http(container: str, head: bytes) -> None:
    """The whole of it streams in the container asked for."""
    async with serve() as live, ClientSession() as http:
        body = {
            "transcript": "abc",
            "voice": "anna",
            "output_format": {**RAW, "container": container, "sample_rate": 44100},
        }
        headers = {"X-API-Key": "k", "Cartesia-Version": "2026-08-14"}
        async with http.post(live.http + "/tts/bytes", json=body, headers=headers) as answer:
            assert answer.status == 200
            assert (await answer.read())[: len(head)] == head
        async with http.post(live.http + "/tts/bytes", json={"transcript": "a"}) as answer:
            assert answer.status == 400 and (await answer.json())["title"]
