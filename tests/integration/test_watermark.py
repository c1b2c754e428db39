"""nano speaks through a real server with a watermark key; what arrives is looked at."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import numpy as np
import pytest

import engine
from clients.events import AudioPacket, ContextStarted
from clients.opus_decode import OpusDecoder
from clients.stream_client import StreamClient
from engine.audio.io import read_audio
from engine.audio.watermark_detector import detect
from engine.audio.watermark_key import WatermarkKey
from engine.types import FloatArray
from server.app import make_runner
from server.config import load
from server.runtime import Runtime
from server.serve_command import build_parts, web

NANO = Path(engine.__file__).parent / "bundled" / "nano"
TEXT = "The ferry leaves the harbour a little after sunrise, and nobody waits for those who sleep."
BODY = {"model": "tts-1", "input": TEXT, "voice": "anna"}


async def opus_of(url: str) -> FloatArray:
    """Speak over the native socket and decode its Opus packets."""
    async with StreamClient(url) as client:
        context = await client.open(voice="anna", seed=1, lead_ms=0, format={"bitrate": 24000})
        await context.send_text(TEXT)
        await context.end()
        pcm = b""
        async for event in context:
            if isinstance(event, ContextStarted):
                decoder = OpusDecoder(24000, event.pre_skip)
            elif isinstance(event, AudioPacket):
                pcm += decoder.decode(event.payload)
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


@pytest.mark.slow
@pytest.mark.parametrize("is_on", [True, False])
async def test_every_way_out_is_marked(tmp_path: Path, is_on: bool) -> None:
    """Opus of the native socket, and files of two dialects; without the setting none of them is."""
    key = WatermarkKey.generate()
    key.write(tmp_path / "key")
    setting = [f"server.watermark_key_file={tmp_path / 'key'}"] if is_on else []
    config = load(
        settings=[f"engine.pack={NANO}", "engine.process=false", *setting], environment={}
    )
    runtime = Runtime(config, build_parts(config))
    runner = make_runner(runtime)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await runtime.wait_started()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        heard = {"native": (await opus_of(f"ws://{address}"), 24000)}
        async with aiohttp.ClientSession(f"http://{address}") as http:
            for name in ("wav", "opus"):
                body = BODY | {"response_format": name}
                async with http.post("/v1/audio/speech", json=body) as response:
                    recording = read_audio(await response.read())
                heard[f"OpenAI, {name}"] = recording.samples, recording.sample_rate_hz
            query = {"text": TEXT, "text_lang": "en", "ref_audio_path": "anna.wav"}
            async with http.get("/tts", params=query) as response:
                recording = read_audio(await response.read())
            heard["api_v2"] = recording.samples, recording.sample_rate_hz
    finally:
        await runner.cleanup()
    found = {name: detect(samples, rate, key) for name, (samples, rate) in heard.items()}
    assert {name: result.is_marked for name, result in found.items()} == dict.fromkeys(heard, is_on)
    assert len(heard) == 4
