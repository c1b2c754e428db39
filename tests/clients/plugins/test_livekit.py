"""The LiveKit plugin in livekit-agents' own stream classes, against a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from tests.server.live import Live, serve

pytest.importorskip("livekit.agents", reason="livekit-agents is not installed")

from livekit.agents import APIConnectionError, APIConnectOptions, APIError  # noqa: E402
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT  # noqa: E402

from clients.plugins.livekit import TTS  # noqa: E402

pytestmark = [pytest.mark.compat, pytest.mark.filterwarnings("default")]
TEXT = ["Hello ", "there, and wel", "come. This is ", "the second sentence."]
ONCE = APIConnectOptions(max_retry=0, timeout=10)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    script = FakeScript(step_s=0.002, tokens_per_phoneme=2)
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    async with serve("audio.voice=fake", engine=engine) as running:  # type: ignore[arg-type]
        yield running


async def idle(live: Live) -> None:
    """Wait until the engine has nothing to do."""
    for _ in range(500):
        if not (await live.runtime.engine.stats()).slots_used:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the engine is still busy")


async def test_text_streams_in_and_audio_out(live: Live) -> None:
    """Audio before the text ends; its transcript, word by word, is the text; metrics are made."""
    metrics: list[Any] = []
    async with TTS(url=live.http, lead_ms=0) as tts:
        tts.on("metrics_collected", metrics.append)
        async with tts.stream(conn_options=ONCE) as stream:
            for piece in TEXT[:3]:
                stream.push_text(piece)
            first = await asyncio.wait_for(anext(stream), 20)
            stream.push_text(TEXT[3])
            stream.end_input()
            events = [first, *[event async for event in stream]]
        assert tts.model == "fake"
    samples = np.concatenate([np.frombuffer(event.frame.data, np.int16) for event in events])
    transcript = [
        word for event in events for word in event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
    ]
    assert "".join(transcript).rstrip() == "".join(TEXT)
    starts = [word.start_time for word in transcript]
    assert starts == sorted(starts) and len(transcript) > 2
    assert starts[-1] < len(samples) / 24000
    assert np.sqrt(np.mean((samples / 32768) ** 2)) > 0.1
    assert events[-1].is_final and {event.frame.sample_rate for event in events} == {24000}
    assert metrics[0].audio_duration == pytest.approx(len(samples) / 24000, abs=0.01)
    assert metrics[0].characters_count == len("".join(TEXT))


async def test_a_whole_text_is_spoken(live: Live) -> None:
    """synthesize() collects to one frame, over the session that is open."""
    async with TTS(url=live.http, voice="fake-1", sample_rate=16000, lead_ms=0) as tts:
        tts.prewarm()
        frame = await tts.synthesize("Hello there.", conn_options=ONCE).collect()
        again = await tts.synthesize("Hello there.", conn_options=ONCE).collect()
    assert frame.sample_rate == 16000 and frame.duration > 0.5
    assert again.duration == pytest.approx(frame.duration, abs=0.05)


async def test_a_closed_stream_stops_the_server(live: Live) -> None:
    """An interruption is a cancel: the engine's work ends, the session goes on."""
    async with TTS(url=live.http) as tts:
        stream = tts.stream(conn_options=ONCE)
        stream.push_text("A long sentence that is not going to be heard to its end, " * 10)
        await asyncio.wait_for(anext(stream), 20)
        await stream.aclose()
        await idle(live)
        assert (await tts.synthesize("Still here.", conn_options=ONCE).collect()).duration > 0.2


async def test_errors_are_livekits(live: Live) -> None:
    """What cannot be repaired is not tried again; no server is a connection error."""
    async with TTS(url=live.http, voice="nobody") as tts:
        with pytest.raises(APIError, match="voice_not_found") as caught:
            await tts.synthesize("Hello.", conn_options=ONCE).collect()
        assert not caught.value.retryable
    async with TTS(url="ws://127.0.0.1:9") as tts:
        with pytest.raises(APIConnectionError):
            await tts.synthesize("Hello.", conn_options=ONCE).collect()


async def test_a_lost_session_is_replaced(live: Live) -> None:
    """The next stream connects again."""
    async with TTS(url=live.http, lead_ms=0) as tts:
        await tts.synthesize("One.", conn_options=ONCE).collect()
        await tts._client.close()
        assert (await tts.synthesize("Two, again.", conn_options=ONCE).collect()).duration > 0.2
