"""Requests of every dialect with values that do not belong there: answered, never a bug of ours."""

from __future__ import annotations

import copy
import json
import logging
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.exceptions import ConnectionClosed

from tests.server.dialects.sockets import peer
from tests.server.dialects.test_cartesia import PATH as CARTESIA
from tests.server.dialects.test_cartesia import generation
from tests.server.dialects.test_dashscope import PATH as DASHSCOPE
from tests.server.dialects.test_dashscope import command, run_task
from tests.server.live import serve

pytestmark = pytest.mark.security

NUMBERS: list[Any] = [-1, 0, 3, 10**400, 1e308, float("nan"), float("inf"), 0.5]
JUNK: list[Any] = [None, True, "", "x", "\ud800", [], {}, [[]], {"id": 3}, "anna", *NUMBERS]
ELEVENLABS = {
    "text": "One. ",
    "context_id": "c",
    "voice_settings": {"speed": 1.0},
    "generation_config": {"chunk_length_schedule": [50]},
    "flush": True,
    "close_context": False,
}
SOCKETS: dict[str, list[dict[str, Any]]] = {
    "/v1/text-to-speech/anna/stream-input": [ELEVENLABS, {"text": ""}],
    "/v1/text-to-speech/anna/multi-stream-input": [ELEVENLABS, {"close_socket": False}],
    CARTESIA: [
        generation(
            "c",
            "One.",
            language="en",
            max_buffer_delay_ms=100,
            generation_config={"speed": 1.0},
            speed="slow",
            flush=True,
            add_timestamps=True,
        ),
        {"context_id": "c", "cancel": True},
    ],
    DASHSCOPE: [
        run_task(seed=3, language_hints=["zh"], bit_rate=32, word_timestamp_enabled=True),
        command("continue-task", input={"text": "One.", "flush": True}),
        command("finish-task", input={"directive": "x"}),
    ],
    "/v1/speak?model=anna": [{"type": "Speak", "text": "One."}, {"type": "Flush"}],
}
ROUTES: dict[str, dict[str, Any]] = {
    "/tts": {
        "text": "One.",
        "text_lang": "en",
        "ref_audio_path": "anna.wav",
        "top_k": 5,
        "top_p": 1.0,
        "temperature": 1.0,
        "repetition_penalty": 1.3,
        "speed_factor": 1.0,
        "seed": -1,
        "media_type": "wav",
        "streaming_mode": 1,
    },
    "/v1/audio/speech": {
        "input": "One.",
        "voice": {"id": "anna"},
        "response_format": "pcm",
        "speed": 1.0,
        "instructions": "sad",
        "stream_format": "audio",
        "language": "en",
    },
    "/v1/text-to-speech/anna?output_format=pcm_24000": {
        "text": "One.",
        "voice_settings": {"speed": 1.0},
        "seed": 3,
        "language_code": "en",
    },
    "/tts/bytes": {
        **generation("c", "One.", language="en", speed=1.0),
        "output_format": {"container": "mp3", "sample_rate": 44100, "bit_rate": 128_000},
    },
    "/v1/speak?model=anna&encoding=linear16": {"text": "One."},
}


def spoiled(message: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Return a copy with a value or two that are something else."""
    changed = copy.deepcopy(message)
    for _ in range(dice.randint(1, 2)):
        places = list(_places(changed))
        holder, name = dice.choice(places)
        holder[name] = dice.choice(JUNK)
    return changed


def _places(value: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, item in value.items():
        yield value, name
        if isinstance(item, dict):
            yield from _places(item)


@pytest.mark.parametrize("path", SOCKETS)
async def test_sockets_answer_what_they_cannot_use(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the values: an answer in the dialect's words, or a close that is none of 1011."""
    dice = random.Random(path)
    caplog.set_level(logging.ERROR)
    async with serve("dialects.unknown_voice=default") as live:
        for _ in range(12):
            # Its library does not see a close behind 16 messages that nobody reads: each of these
            # would take the 10 s of its patience.
            async with peer(live, path, max_queue=None) as client:
                with suppress(ConnectionClosed):
                    for _ in range(10):
                        await client.ws.send(json.dumps(spoiled(dice.choice(SOCKETS[path]), dice)))
                    await client.quiet(0.02)
            assert client.ws.close_code != 1011
        await live.runtime.wait_empty()
        assert not live.engine.active
    assert not caplog.records


@pytest.mark.parametrize("path", ROUTES)
async def test_routes_answer_what_they_cannot_use(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With audio or a status that blames the request."""
    dice = random.Random(path)
    caplog.set_level(logging.ERROR)
    headers = {"Content-Type": "application/json"}
    async with serve("dialects.unknown_voice=default") as live, ClientSession() as http:
        for _ in range(60):
            body = json.dumps(spoiled(ROUTES[path], dice))
            async with http.post(live.http + path, data=body, headers=headers) as answer:
                data = await answer.read()
                assert answer.status < 500, (body, data)
    assert not caplog.records
