"""What every dialect does alike: keys, and a text with nothing to speak."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.exceptions import InvalidStatus

from server.admission import hash_key
from tests.server.dialects.sockets import int16, peer
from tests.server.dialects.test_cartesia import PATH as CARTESIA
from tests.server.dialects.test_cartesia import generation
from tests.server.dialects.test_dashscope import PATH as DASHSCOPE
from tests.server.dialects.test_dashscope import command, run_task, until
from tests.server.live import serve

SOCKETS = (
    "/v1/tts/ws",
    "/v1/text-to-speech/anna/stream-input",
    "/v1/text-to-speech/anna/multi-stream-input",
    CARTESIA,
    DASHSCOPE,
    "/v1/speak?model=anna",
)
PAGES = (
    ("POST", "/tts"),
    ("GET", "/tts?text=hello"),
    ("POST", "/"),
    ("GET", "/speakers"),
    ("POST", "/v1/audio/speech"),
    ("GET", "/v1/models"),
    ("GET", "/v1/audio/voices"),
    ("POST", "/v1/text-to-speech/anna"),
    ("POST", "/v1/text-to-speech/anna/stream"),
    ("GET", "/v1/voices"),
    ("GET", "/v2/voices"),
    ("POST", "/tts/bytes"),
    ("POST", "/v1/speak?model=anna"),
    ("POST", "/v1/tokens"),
)
SILENCE_MS = range(20, 101)
NOTHING = "😀 … !"


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_every_route_asks_for_the_key(tmp_path: Path, key: str | None) -> None:
    """Rule 11: 401 at the upgrade or as the answer, before anything is read."""
    keys = tmp_path / "keys"
    keys.write_text(f"me {hash_key('right')}\n")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with serve(f"server.keys_file={keys}") as live, ClientSession(headers=headers) as http:
        for path in SOCKETS:
            with pytest.raises(InvalidStatus) as refused:
                async with peer(live, path, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == 401, path
        for method, path in PAGES:
            async with http.request(method, live.http + path) as answer:
                assert answer.status == 401, path


async def test_without_keys_any_word_will_do() -> None:
    """Rule 11: clients that insist on a key send "not-needed"."""
    headers = {"Authorization": "Bearer not-needed", "xi-api-key": "k", "X-API-Key": "k"}
    async with serve() as live, ClientSession(headers=headers) as http:
        for path in SOCKETS:
            async with peer(live, path, additional_headers=headers):
                pass
        for method, path in PAGES:
            async with http.request(method, live.http + path) as answer:
                assert answer.status != 401, path


@pytest.mark.parametrize(
    ("path", "body", "bytes_per_ms"),
    [
        ("/tts", {"text": NOTHING, "media_type": "raw", "streaming_mode": 1}, 64),
        ("/v1/audio/speech", {"input": NOTHING, "voice": "anna", "response_format": "pcm"}, 48),
        ("/v1/text-to-speech/anna/stream?output_format=pcm_24000", {"text": NOTHING}, 48),
        ("/tts/bytes", generation("c", NOTHING), 48),
        ("/v1/speak?model=anna&encoding=linear16&container=none&sample_rate=24000",
         {"text": NOTHING}, 48),
    ],
)  # fmt: skip
async def test_nothing_to_speak_is_a_moment_of_silence_over_http(
    path: str, body: dict[str, Any], bytes_per_ms: int
) -> None:
    """Rule 12: 20 to 100 ms and a normal end; no audio would be taken for a failure."""
    async with serve() as live, ClientSession() as http:
        async with http.post(live.http + path, json=body) as answer:
            data = await answer.read()
            assert answer.status == 200, data
    assert len(data) // bytes_per_ms in SILENCE_MS
    assert not int16(data).any()


async def test_nothing_to_speak_is_a_moment_of_silence_on_sockets() -> None:
    """Rule 12, with the word each protocol has for its end."""
    async with serve() as live:
        async with peer(live, CARTESIA) as client:
            await client.send(generation("c", NOTHING, **{"continue": False}))
            await client.until(type="done")
            assert len(client.audio("data")) // 48 in SILENCE_MS
        async with peer(live, DASHSCOPE) as client:
            text = command("continue-task", input={"text": NOTHING})
            await client.send(run_task(), text, command("finish-task"))
            await until(client, "task-finished")
            assert len(client.bytes()) // 48 in SILENCE_MS
        async with peer(live, "/v1/speak?model=anna&sample_rate=24000") as client:
            await client.send({"type": "Speak", "text": NOTHING}, {"type": "Flush"})
            await client.until(type="Flushed")
            assert len(client.bytes()) // 48 in SILENCE_MS


async def test_base64_chunks_hold_whole_samples() -> None:
    """Rule 4, for Cartesia: pipecat takes each chunk's bytes as int16."""
    async with serve() as live, peer(live, CARTESIA) as client:
        await client.send(generation("c", "abcdefg.", **{"continue": False}))
        await client.until(type="done")
    chunks = [base64.b64decode(m["data"]) for m in client.log if m["type"] == "chunk"]
    assert len(chunks) > 1 and all(len(chunk) % 2 == 0 for chunk in chunks)
