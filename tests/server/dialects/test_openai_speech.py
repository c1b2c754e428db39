"""OpenAI's speech endpoint over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from aiohttp import ClientSession

from clients.ogg import read_ogg_opus
from engine.types import FloatArray
from server.admission import hash_key
from server.runtime import Hosted
from tests.fakes import Script
from tests.server.live import serve

RATE_HZ = 24000
SAMPLES_PER_LETTER = 2 * RATE_HZ // 25


def _decoded(data: bytes) -> FloatArray:
    """Return mono samples by FFmpeg, which reads streams that do not know their length."""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", rate=RATE_HZ)
        frames = [part for f in container.decode(audio=0) for part in resampler.resample(f)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


async def test_pcm_is_24_khz_in_chunks() -> None:
    """Rule 8: no Content-Length, and the first bytes are audio."""
    async with serve() as live, ClientSession() as http:
        body = {"model": "tts-1", "input": "abcde", "voice": "alloy", "response_format": "pcm"}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            assert answer.status == 200
            assert answer.headers["Transfer-Encoding"] == "chunked"
            data = await answer.read()
    samples = np.frombuffer(data, "<i2")
    assert len(samples) == 5 * SAMPLES_PER_LETTER
    assert np.abs(samples[100:-100] / 32767 - 0.1).max() < 0.01


async def test_the_first_bytes_come_while_the_rest_is_made() -> None:
    """Streaming is real: the second chunk of the engine is still held back."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, ClientSession() as http:
        body = {"input": "abcdefgh", "voice": "anna", "response_format": "wav"}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            first = await answer.content.readexactly(44 + 960)
            assert first[:4] == b"RIFF" and first[40:44] == b"\xff" * 4
            gate.set()
            rest = await answer.read()
    assert len(first) + len(rest) == 44 + 2 * 8 * SAMPLES_PER_LETTER


@pytest.mark.parametrize(
    ("name", "content_type"),
    [(None, "audio/mpeg"), ("mp3", "audio/mpeg"), ("flac", "audio/flac"), ("wav", "audio/wav")],
)
async def test_files_decode_to_what_was_spoken(name: str | None, content_type: str) -> None:
    """MP3 is the default of this API; the content type is that of what is sent."""
    async with serve() as live, ClientSession() as http:
        body = {"input": "abcdefgh", "voice": "anna", "response_format": name}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            assert answer.content_type == content_type
            data = await answer.read()
    samples = _decoded(data)
    length = 8 * SAMPLES_PER_LETTER
    # An MP3 that nobody goes back to mend keeps its encoder's delay and padding.
    assert length <= len(samples) <= length + 3 * 1152
    assert abs(float(np.median(samples)) - 0.1) < 0.01


@pytest.mark.parametrize("name", ["opus", "aac"])
async def test_opus_is_ogg_and_stands_in_for_aac(name: str) -> None:
    """AAC cannot be made here; the answer's content type says what it is instead."""
    async with serve() as live, ClientSession() as http:
        body = {"input": "abc", "voice": "anna", "response_format": name}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            assert answer.content_type == "audio/ogg"
            ogg = read_ogg_opus(await answer.read())
    assert ogg.total_samples48 == 3 * 2 * SAMPLES_PER_LETTER


async def test_aac_can_be_refused() -> None:
    """By configuration, as every format that does not exist."""
    async with serve("dialects.missing_format=refuse") as live, ClientSession() as http:
        for name in ("aac", "midi"):
            body = {"input": "abc", "voice": "anna", "response_format": name}
            async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["param"] == "response_format"


async def test_events_carry_the_audio_in_base64() -> None:
    """`stream_format: sse` gives deltas and one done with usage."""
    async with serve() as live, ClientSession() as http:
        body = {
            "input": "abc",
            "voice": {"id": "bob"},
            "response_format": "pcm",
            "stream_format": "sse",
        }
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            assert answer.content_type == "text/event-stream"
            lines = (await answer.text()).split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    audio = b"".join(base64.b64decode(e["audio"]) for e in events[:-1])
    assert len(audio) == 2 * 3 * SAMPLES_PER_LETTER
    assert {e["type"] for e in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] == 3


async def test_errors_are_openais() -> None:
    """Rule 8: error with message, type, code and param."""
    async with serve() as live, ClientSession() as http:
        for body, status, param in [
            ({"voice": "alloy"}, 400, "input"),
            ({"input": "a", "voice": "nobody"}, 404, "voice"),
            ({"input": "a", "voice": "anna", "speed": "x"}, 400, "speed"),
            ({"input": "a" * 9000, "voice": "anna"}, 413, None),
        ]:
            async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
                error = (await answer.json())["error"]
                assert (answer.status, error["param"]) == (status, param)
                assert error["type"] == "invalid_request_error" and error["message"]


async def test_text_without_anything_to_speak_is_a_moment_of_silence() -> None:
    """Rule 12: clients take no audio for a failure."""
    async with serve() as live, ClientSession() as http:
        body = {"input": "😀…!", "voice": "anna", "response_format": "pcm"}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            samples = np.frombuffer(await answer.read(), "<i2")
    assert 0.02 <= len(samples) / RATE_HZ <= 0.1 and not samples.any()


async def test_keys_are_asked_for_only_where_there_are_some(tmp_path: Path) -> None:
    """Rule 11: 401 without the right key; without keys any word will do."""
    body = {"input": "a", "voice": "anna"}
    async with serve() as live, ClientSession() as http:
        headers = {"Authorization": "Bearer not-needed"}
        async with http.post(live.http + "/v1/audio/speech", json=body, headers=headers) as answer:
            assert answer.status == 200
    keys = tmp_path / "keys"
    keys.write_text(f"me {hash_key('secret')}\n")
    async with serve(f"server.keys_file={keys}") as live, ClientSession() as http:
        for given, status in [("Bearer wrong", 401), ("", 401), ("Bearer secret", 200)]:
            headers = {"Authorization": given}
            async with http.post(
                live.http + "/v1/audio/speech", json=body, headers=headers
            ) as answer:
                assert answer.status == status
        async with http.get(live.http + "/v1/models?api_key=secret") as answer:
            assert answer.status == 401  # a URL is logged
        async with http.get(live.http + "/v1/models", headers={"xi-api-key": "secret"}) as answer:
            assert answer.status == 200


async def test_pages_of_other_sites_are_refused_and_those_allowed_may_read() -> None:
    """The origins of the native route hold here too, with the headers a browser needs."""
    body = {"input": "a", "voice": "anna"}
    site = "https://page.example"
    async with serve() as live, ClientSession() as http:
        url = live.http + "/v1/audio/speech"
        async with http.post(url, json=body, headers={"Origin": site}) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
    async with serve(f"server.origins=['{site}']") as live, ClientSession() as http:
        url = live.http + "/v1/audio/speech"
        async with http.options(url, headers={"Origin": site}) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == site
        async with http.post(url, json=body, headers={"Origin": site}) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == site


async def test_a_client_that_hangs_up_frees_the_engine() -> None:
    """Leaving the answer cancels what is still being spoken."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, ClientSession() as http:
        body = {"input": "abcdefgh" * 20, "voice": "anna", "response_format": "pcm"}
        answer = await http.post(live.http + "/v1/audio/speech", json=body)
        await answer.content.readexactly(960)
        answer.close()
        gate.set()
        await asyncio.wait_for(live.runtime.wait_empty(), 5)
        assert not live.engine.active and live.runtime.admission.num_contexts == 0


async def test_drain_waits_for_an_answer_that_is_being_spoken() -> None:
    """The body is complete although the server was told to stop in its middle."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, ClientSession() as http:
        body = {"input": "abcdefgh", "voice": "anna", "response_format": "pcm"}
        async with http.post(live.http + "/v1/audio/speech", json=body) as answer:
            first = await answer.content.readexactly(960)
            drain = asyncio.create_task(live.runtime.drain())
            await asyncio.sleep(0)
            async with http.get(live.http + "/v1/models") as refused:
                assert refused.status == 503 and "Retry-After" in refused.headers
            gate.set()
            assert len(first) + len(await answer.read()) == 2 * 8 * SAMPLES_PER_LETTER
        await drain


async def _post(http: ClientSession, url: str, body: dict[str, str]) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    async with http.post(url, json=body) as answer:
        return answer.status, (await answer.json())["error"]["code"]


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (lambda answer: answer.revoke(), 401, "unauthorized"),
        (lambda answer: answer.close(1012, "draining"), 503, "draining"),
    ],
)
async def test_an_answer_that_is_ended_before_it_began_says_why(
    end: Callable[[Hosted], None], status: int, code: str
) -> None:
    """The key is gone, or the server is."""
    async with serve(script=Script(hang_text="abcdefgh")) as live, ClientSession() as http:
        body = {"input": "abcdefgh", "voice": "anna", "response_format": "pcm"}
        asked = asyncio.create_task(_post(http, live.http + "/v1/audio/speech", body))
        async with asyncio.timeout(10):
            while not live.engine.jobs:
                await asyncio.wait({asked}, timeout=0.01)
        (answer,) = live.runtime.sessions
        end(answer)
        assert await asked == (status, code)


async def test_too_many_contexts_is_503_before_the_body() -> None:
    """Overload is an HTTP status that client libraries wait and retry on."""
    gate = asyncio.Event()
    script = Script(gates={0: gate})
    async with serve("server.limits.max_active_contexts=1", script=script) as live:
        async with ClientSession() as http:
            body = {"input": "abcdefgh", "voice": "anna", "response_format": "pcm"}
            async with http.post(live.http + "/v1/audio/speech", json=body) as first:
                async with http.post(live.http + "/v1/audio/speech", json=body) as second:
                    assert second.status == 503 and "Retry-After" in second.headers
                gate.set()
                await first.read()


async def test_lists_voices_and_models() -> None:
    """What user interfaces of this API ask for first."""
    async with serve() as live, ClientSession() as http:
        async with http.get(live.http + "/v1/audio/voices") as answer:
            voices = await answer.json()
        async with http.get(live.http + "/v1/models") as answer:
            models = await answer.json()
    assert [voice["id"] for voice in voices["voices"]] == ["anna", "bob"]
    assert "tts-1" in [model["id"] for model in models["data"]]


async def test_aliases_and_styles_choose_the_voice() -> None:
    """A configured alias, `voice:style`, and instructions that name a style."""
    setting = "dialects.voice_aliases={nova='anna:sad'}"
    async with serve(setting) as live, ClientSession() as http:
        for body in (
            {"voice": "nova"},
            {"voice": "anna:sad"},
            {"voice": "Anna", "instructions": "sad"},
            {"voice": "bob", "instructions": "Speak warmly."},
        ):
            async with http.post(
                live.http + "/v1/audio/speech", json={"input": "a", **body}
            ) as answer:
                assert answer.status == 200
    spoken = [(job.voice_id, job.style) for job in live.engine.jobs]
    assert spoken == [("anna", "sad")] * 3 + [("bob", "default")]
