"""GPT-SoVITS api_v2 over real HTTP."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from aiohttp import ClientSession

from clients.ogg import read_ogg_opus
from engine.types import Sampling
from server.dialects.api_v2 import is_streaming, voice_name
from tests.fakes import RATE_HZ, SAMPLES_PER_TOKEN, TOKENS_PER_PHONEME, Script
from tests.server.live import serve

SAMPLES_PER_LETTER = TOKENS_PER_PHONEME * SAMPLES_PER_TOKEN


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (True, True),
        ("true", True),
        ("ture", True),  # a default of Open-LLM-VTuber
        (1, True),
        (3, True),
        ("3", True),
        ("nonsense", True),
        (0, False),
        ("0", False),
        (False, False),
        ("False", False),
    ],
)
def test_every_spelling_of_streaming_mode(mode: object, expected: bool) -> None:
    """Unknown words mean yes: nobody who writes one wants the whole file."""
    assert is_streaming(mode) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./参考音频/anna.wav", "anna"),
        ("C:\\voices\\bob.mp3", "bob"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("", None),
        (None, None),
    ],
)
def test_a_reference_is_a_name(path: object, expected: str | None) -> None:
    """The base name without its ending; what has none stays as it is and is no voice."""
    assert voice_name({"ref_audio_path": path}) == expected


async def test_a_whole_wav_by_get() -> None:
    """Without streaming the sizes in the header are right."""
    async with serve() as live, ClientSession() as http:
        query = {"text": "abc.", "text_lang": "en", "ref_audio_path": "x/bob.wav"}
        async with http.get(live.http + "/tts", params=query) as answer:
            assert (answer.status, answer.content_type) == (200, "audio/wav")
            samples, rate_hz = soundfile.read(io.BytesIO(await answer.read()), dtype="float32")
    assert rate_hz == RATE_HZ
    assert len(samples) >= 3 * SAMPLES_PER_LETTER
    assert np.abs(samples[: 3 * SAMPLES_PER_LETTER] - 0.1).max() < 1e-3
    assert live.engine.jobs[0].voice_id == "bob"
    assert not live.engine.active


@pytest.mark.parametrize("route", ["/tts", "/"])
async def test_a_streamed_wav_has_one_header_without_sizes(route: str) -> None:
    """The header comes once, then nothing but samples, in chunks of HTTP."""
    async with serve() as live, ClientSession() as http:
        body = {"text": "abc. def.", "text_lang": "all_zh", "streaming_mode": "ture"}
        async with http.post(live.http + route, json=body) as answer:
            assert "Content-Length" not in answer.headers
            data = await answer.read()
    assert data[:4] == b"RIFF" and data[4:8] == b"\xff" * 4 and data[40:44] == b"\xff" * 4
    assert data.count(b"RIFF") == 1
    samples = np.frombuffer(data[44:], "<i2")
    assert (samples != 0).sum() == 6 * SAMPLES_PER_LETTER


async def test_raw_and_ogg_are_what_they_say() -> None:
    """`raw` is bare PCM at the model's rate, `ogg` is Opus of the same length."""
    async with serve() as live, ClientSession() as http:
        body = {"text": "abcdef", "streaming_mode": True, "media_type": "raw"}
        async with http.post(live.http + "/tts", json=body) as answer:
            assert answer.content_type == "audio/pcm"
            raw = await answer.read()
        async with http.post(live.http + "/tts", json=body | {"media_type": "ogg"}) as answer:
            assert answer.content_type == "audio/ogg"
            ogg = read_ogg_opus(await answer.read())
    assert len(raw) == 2 * 6 * SAMPLES_PER_LETTER
    assert ogg.total_samples48 == 6 * SAMPLES_PER_LETTER * 48000 // RATE_HZ


async def test_errors_have_a_message_at_the_top() -> None:
    """400 with `message`, also for what is not JSON and formats there are not."""
    async with serve() as live, ClientSession() as http:
        for body, word in [
            ({"text_lang": "zh"}, "text"),
            ({"text": "a", "media_type": "aac"}, "media_type"),
            ({"text": "a", "speed_factor": "fast"}, "speed_factor"),
        ]:
            async with http.post(live.http + "/tts", json=body) as answer:
                assert answer.status == 400
                assert word in (await answer.json())["message"]
        async with http.post(live.http + "/tts", data=b"{") as answer:
            assert answer.status == 400 and "message" in await answer.json()


@pytest.mark.parametrize("path", ["../../etc/passwd", "http://169.254.169.254/x.wav", "/etc/hosts"])
async def test_paths_of_the_client_are_not_opened(path: str) -> None:
    """A reference that is no voice of ours is a voice that does not exist."""
    async with serve() as live, ClientSession() as http:
        body = {"text": "a", "ref_audio_path": path}
        async with http.post(live.http + "/tts", json=body) as answer:
            assert answer.status == 404
            assert "valid: anna, bob" in (await answer.json())["message"]


async def test_sampling_parameters_reach_the_engine() -> None:
    """Out of range values are taken to the nearest one, a seed of -1 is a random one."""
    async with serve() as live, ClientSession() as http:
        query = {
            "text": "a",
            "top_k": "5",
            "top_p": "2",
            "temperature": "0.5",
            "seed": "7",
            "speed_factor": "9",
        }
        async with http.get(live.http + "/tts", params=query) as answer:
            assert answer.status == 200
        async with http.get(live.http + "/tts", params={"text": "a", "seed": "-1"}) as answer:
            assert answer.status == 200
    params = live.engine.jobs[0].params
    assert (params.top_k, params.top_p, params.temperature) == (5, 1.0, 0.5)
    assert (params.seed, params.speed) == (7, 2.0)


async def test_what_is_not_given_is_sampled_as_the_pack_says() -> None:
    """This protocol has defaults of its own for a model this server may not have."""
    script = Script(sampling=Sampling(repetition_penalty=1.05))
    async with serve(script=script) as live, ClientSession() as http:
        async with http.get(live.http + "/tts", params={"text": "a", "top_k": "5"}) as answer:
            assert answer.status == 200
    params = live.engine.jobs[0].params
    assert (params.top_k, params.repetition_penalty) == (5, 1.05)


async def test_weights_and_process_are_out_of_reach() -> None:
    """The routes that load files and stop the server are refused."""
    async with serve() as live, ClientSession() as http:
        for path in ("/set_gpt_weights?weights_path=x", "/set_sovits_weights", "/control"):
            async with http.get(live.http + path) as answer:
                assert answer.status == 403
        assert live.runtime.status == "ready"


async def test_lists_the_speakers() -> None:
    """As SillyTavern reads them."""
    async with serve() as live, ClientSession() as http:
        async with http.get(live.http + "/speakers") as answer:
            assert await answer.json() == [
                {"name": "anna", "voice_id": "anna"},
                {"name": "bob", "voice_id": "bob"},
            ]


async def test_a_failure_before_the_first_byte_is_an_error_and_later_a_broken_body() -> None:
    """No audio is invented for what failed, and a cut body does not look complete."""
    async with serve(script=Script(fail_text="bcdefgh")) as live, ClientSession() as http:
        async with http.post(live.http + "/tts", json={"text": "bcdefgh"}) as answer:
            assert answer.status == 500
            assert (await answer.json())["code"] == "engine_failed"
        async with http.post(
            live.http + "/tts", json={"text": "bcdefgh", "streaming_mode": 1}
        ) as answer:
            assert answer.status == 200
            with pytest.raises(Exception, match="(?i)payload|closed|reset|disconnect"):
                await answer.read()
