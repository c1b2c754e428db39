"""ElevenLabs' sockets and HTTP routes, with raw clients."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest
from aiohttp import ClientSession
from websockets.exceptions import InvalidStatus

from clients.ogg import read_ogg_opus
from server.dialects import elevenlabs
from tests.fakes import Script
from tests.server.dialects.sockets import int16, peer
from tests.server.live import serve

RATE_HZ = 24000
LETTER = 2 * RATE_HZ // 25
SINGLE = "/v1/text-to-speech/anna/stream-input?output_format=pcm_24000"
MULTI = "/v1/text-to-speech/anna/multi-stream-input?output_format=pcm_24000"


async def test_a_single_stream_ends_with_is_final_and_1000() -> None:
    """Rules 1 and 2: the opening space is not spoken, the last frame has no audio."""
    async with serve() as live, peer(live, SINGLE) as client:
        await client.send(
            {
                "text": " ",
                "voice_settings": None,
                "generation_config": {"chunk_length_schedule": [50]},
                "xi_api_key": "not-needed",
                "generator_config": {},
            },
            {"text": "abc. ", "try_trigger_generation": True},
            {"text": "def. "},
            {"text": ""},
        )
        code, _ = await client.rest()
    assert code == 1000
    assert client.log[-1] == {"isFinal": True}
    samples = int16(client.audio())
    assert (samples != 0).sum() == pytest.approx(6 * LETTER, abs=200)
    assert [job.voice_id for job in live.engine.jobs] == ["anna", "anna"]


async def test_every_frame_holds_whole_samples() -> None:
    """Rule 4: pipecat takes each frame's bytes as int16."""
    async with serve() as live:
        async with peer(live, SINGLE.replace("24000", "22050")) as client:
            await client.send({"text": " "}, {"text": "abcdefg "}, {"text": ""})
            await client.rest()
    sizes = [len(base64.b64decode(m["audio"])) for m in client.log if m.get("audio")]
    assert sizes and not any(size % 2 for size in sizes)


async def test_contexts_of_one_socket_are_named_in_every_frame() -> None:
    """Rule 3: camelCase contextId everywhere, isFinal once per context."""
    async with serve() as live, peer(live, MULTI) as client:
        for ctx in ("a", "b"):
            await client.send(
                {"text": " ", "context_id": ctx, "voice_settings": {"speed": 1.2}},
                {"text": "abcdefgh ", "context_id": ctx},
                {"context_id": ctx, "flush": True},
                {"context_id": ctx, "close_context": True},
            )
        for _ in range(2):
            await client.until(isFinal=True)
        await client.send({"close_socket": True})
        code, _ = await client.rest()
    assert code == 1000
    assert all(m["contextId"] in ("a", "b") for m in client.log)
    for ctx in ("a", "b"):
        assert len(int16(client.audio(contextId=ctx))) == 8 * LETTER
        assert len([m for m in client.log if m["contextId"] == ctx and m["isFinal"]]) == 1
    assert live.engine.jobs[0].params.speed == 1.2


async def test_an_empty_text_without_context_is_a_keepalive() -> None:
    """Rule 1: pipecat sends one every 10 s; it opens nothing and ends nothing."""
    async with serve() as live, peer(live, MULTI) as client:
        await client.send({"text": ""}, {"text": "", "context_id": "a"})
        await client.send(
            {"context_id": "a", "flush": True}, {"context_id": "a", "close_context": True}
        )
        assert await client.quiet(0.1)
        await client.send({"text": "abc", "context_id": "a", "flush": True})
        await client.send({"text": ""}, {"text": "", "context_id": "a"})
        await client.send({"context_id": "a", "close_context": True})
        await client.until(isFinal=True, contextId="a")
    assert len(int16(client.audio())) == 3 * LETTER


async def test_closing_a_context_drops_what_was_not_flushed() -> None:
    """Rule 3: nothing of it is spoken, and isFinal still comes."""
    async with serve() as live, peer(live, MULTI) as client:
        await client.send(
            {"text": "abcdefgh", "context_id": "a"}, {"context_id": "a", "close_context": True}
        )
        await client.until(isFinal=True, contextId="a")
    assert not client.audio()


async def test_what_was_flushed_is_spoken_before_the_context_closes() -> None:
    """The flushed sentence is complete but for a frame in the encoder, the next is left out."""
    async with serve(script=Script(step_s=0.001)) as live, peer(live, MULTI) as client:
        await client.send(
            {"text": "abcd", "context_id": "a", "flush": True},
            {"text": "efghefghefgh", "context_id": "a"},
            {"context_id": "a", "close_context": True},
        )
        await client.until(isFinal=True, contextId="a")
    assert 4 * LETTER - 2 * 480 <= len(int16(client.audio())) <= 4 * LETTER
    assert not live.engine.active


async def test_an_interrupted_context_is_silent_and_final() -> None:
    """After isFinal no frame of it follows, while another context goes on."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, peer(live, MULTI) as client:
        await client.send({"text": "abcdefgh", "context_id": "a", "flush": True})
        await client.until(contextId="a")
        await client.send({"context_id": "a", "close_context": True, "immediate": True})
        await client.until(isFinal=True, contextId="a")
        count = len(client.log)
        gate.set()
        await client.send({"text": "abc", "context_id": "b", "flush": True})
        await client.send({"context_id": "b", "close_context": True})
        await client.until(isFinal=True, contextId="b")
        assert all(m["contextId"] == "b" for m in client.log[count:])


async def test_close_socket_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 2: closed before clients give up after 2 s, although a context hangs."""
    assert elevenlabs._CLOSE_WAIT_S < 2
    monkeypatch.setattr(elevenlabs, "_CLOSE_WAIT_S", 0.05)
    async with serve(script=Script(hang_text="abcd")) as live, peer(live, MULTI) as client:
        await client.send(
            {"text": "abcd", "context_id": "a", "flush": True}, {"close_socket": True}
        )
        code, _ = await client.rest()
    assert code == 1000


@pytest.mark.parametrize("sync", ["", "&sync_alignment=true"])
async def test_alignment_covers_every_character_without_a_gap(sync: str) -> None:
    """Durations add up to the audio: relative to the run before, or to the context's start."""
    text = "abc def. gh!"
    async with serve() as live, peer(live, SINGLE + sync) as client:
        await client.send({"text": " "}, {"text": text}, {"text": ""})
        await client.rest()
    runs = [m["alignment"] for m in client.log if m.get("alignment")]
    assert "".join(char for run in runs for char in run["chars"]) == text
    at = 0
    for run in runs:
        base = 0 if sync else at
        for start, duration in zip(run["charStartTimesMs"], run["charDurationsMs"], strict=True):
            assert base + start == at
            at += duration
    audio_ms = len(int16(client.audio())) * 1000 / RATE_HZ
    assert at == pytest.approx(audio_ms, abs=1)
    assert len(runs) > 1


@pytest.mark.parametrize(
    ("name", "bytes_per_letter"), [("ulaw_8000", 640), ("alaw_8000", 640), ("pcm_8000", 1280)]
)
async def test_telephone_formats(name: str, bytes_per_letter: int) -> None:
    """G.711 and 8 kHz PCM, exact to the sample."""
    async with serve() as live:
        async with peer(live, SINGLE.replace("pcm_24000", name)) as client:
            await client.send({"text": "abc"}, {"text": ""})
            await client.rest()
    assert len(client.audio()) == 3 * bytes_per_letter


async def test_opus_is_ogg() -> None:
    """As LiveKit decodes it; the frames joined are one stream."""
    async with serve() as live:
        async with peer(live, SINGLE.replace("pcm_24000", "opus_48000_32")) as client:
            await client.send({"text": "abc"}, {"text": ""})
            await client.rest()
    assert read_ogg_opus(client.audio()).total_samples48 == 3 * 2 * LETTER


async def test_nothing_to_speak_is_a_moment_of_silence() -> None:
    """Rule 12."""
    async with serve() as live, peer(live, SINGLE) as client:
        await client.send({"text": " "}, {"text": "😀!"}, {"text": ""})
        code, _ = await client.rest()
    samples = int16(client.audio())
    assert code == 1000 and 0.02 <= len(samples) / RATE_HZ <= 0.1 and not samples.any()


async def test_refusals_come_before_the_upgrade() -> None:
    """Rule: an unknown voice or format is a status of HTTP, in this service's words."""
    async with serve() as live:
        for path, status in [
            (SINGLE.replace("anna", "nobody"), 404),
            (SINGLE.replace("pcm_24000", "pcm_1"), 415),
        ]:
            with pytest.raises(InvalidStatus) as refused:
                async with peer(live, path):
                    pass
            assert refused.value.response.status_code == status
            assert b'"detail"' in refused.value.response.body


async def test_a_failure_is_told_and_closes_a_single_stream() -> None:
    """The message a client raises, then 1008."""
    async with serve(script=Script(fail_text="abcdefgh")) as live, peer(live, SINGLE) as client:
        await client.send({"text": "abcdefgh"}, {"text": ""})
        code, reason = await client.rest()
    assert (code, reason) == (1008, "engine_failed")
    assert client.log[-1]["message"] == "the engine broke"


async def test_an_idle_socket_is_closed() -> None:
    """After inactivity_timeout seconds without text, also with an open context."""
    async with serve() as live, peer(live, SINGLE + "&inactivity_timeout=1") as client:
        await client.send({"text": " "})
        async with asyncio.timeout(4):
            code, reason = await client.rest()
    assert (code, reason) == (1000, "idle")


async def test_http_stream_convert_and_voices() -> None:
    """The same formats over HTTP; convert has a length, stream has not."""
    async with serve() as live, ClientSession() as http:
        url = live.http + "/v1/text-to-speech/anna"
        body = {"text": "abc", "model_id": "x", "voice_settings": {"speed": 0.8}}
        async with http.post(url + "?output_format=pcm_24000", json=body) as answer:
            whole = await answer.read()
            assert answer.headers["Content-Length"] == str(len(whole))
        async with http.post(url + "/stream?output_format=pcm_24000", json=body) as answer:
            assert "Content-Length" not in answer.headers
            assert await answer.read() == whole
        async with http.post(url, json=body) as answer:
            assert answer.content_type == "audio/mpeg"
        async with http.post(url, json={}) as answer:
            assert answer.status == 400
            assert (await answer.json())["detail"]["status"] == "bad_message"
        async with http.get(live.http + "/v2/voices?search=ann") as answer:
            voices = await answer.json()
    assert len(np.frombuffer(whole, "<i2")) == 3 * LETTER
    assert [voice["voice_id"] for voice in voices["voices"]] == ["anna"]
