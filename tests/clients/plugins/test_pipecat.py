"""The pipecat service in a real pipeline, against a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from tests.server.live import Live, serve

pytest.importorskip("pipecat", reason="pipecat-ai is not installed")

from pipecat.frames.frames import (  # noqa: E402
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import SleepFrame, run_test  # noqa: E402
from pipecat.utils.string import (  # noqa: E402
    TextPartForConcatenation,
    concatenate_aggregated_text,
)

from clients.plugins.pipecat import SovitsLiveTTSService, is_spaceless  # noqa: E402

pytestmark = [pytest.mark.compat, pytest.mark.filterwarnings("default")]
TOKENS = ["你好，", "欢迎", "来到直播", "间。", "这是第二", "句话。"]


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    script = FakeScript(step_s=0.002, tokens_per_phoneme=1)
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    async with serve("audio.voice=fake", engine=engine) as running:  # type: ignore[arg-type]
        yield running


def turn(tokens: list[str]) -> list[Frame]:
    return [
        LLMFullResponseStartFrame(),
        *[LLMTextFrame(token) for token in tokens],
        LLMFullResponseEndFrame(),
    ]


def of(frames: Any, kind: type) -> list[Any]:
    return [frame for frame in frames if isinstance(frame, kind)]


async def test_a_turn_is_spoken_with_its_words(live: Live) -> None:
    """Started, audio and text frames, stopped, in this order; the text is what was said."""
    service = SovitsLiveTTSService(url=live.http, context_settings={"lead_ms": 0})
    frames, errors = await run_test(service, frames_to_send=turn(TOKENS), start_timeout=10.0)
    audio, words = of(frames, TTSAudioRawFrame), of(frames, TTSTextFrame)
    samples = np.frombuffer(b"".join(frame.audio for frame in audio), np.int16)
    order = [type(f) for f in frames if isinstance(f, TTSStartedFrame | TTSStoppedFrame)]
    assert order == [TTSStartedFrame, TTSStoppedFrame]
    assert {frame.sample_rate for frame in audio} == {24000}
    assert len({frame.context_id for frame in audio}) == 1
    assert np.sqrt(np.mean((samples / 32768) ** 2)) > 0.1
    assert "".join(word.text for word in words).strip() == "".join(TOKENS)
    assert not of(frames, ErrorFrame) and not of(errors, ErrorFrame)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["Hello ", "there, ", "all."], "Hello there, all."),
        (["你", "好，", "欢迎。"], "你好，欢迎。"),
        (["価格", "は", "9", "円。"], "価格は 9 円。"),  # as pipecat joins runs of both kinds
        (["안녕 ", "하세요."], "안녕 하세요."),
    ],
)
def test_words_are_joined_as_they_are_written(pieces: list[str], text: str) -> None:
    """By pipecat's own rule for the text that was heard."""
    parts = [TextPartForConcatenation(p.strip(), is_spaceless(p)) for p in pieces]
    assert concatenate_aggregated_text(parts) == text


async def test_a_barge_in_stops_the_server_and_keeps_the_session(live: Live) -> None:
    """After the interruption no more audio of that turn; the next one is spoken."""
    service = SovitsLiveTTSService(url=live.http)
    long = ["This is going to be far too long to be heard, "] * 12
    frames, _ = await run_test(
        service,
        frames_to_send=[
            *turn(long),
            SleepFrame(sleep=1.5),
            InterruptionFrame(),
            SleepFrame(sleep=0.5),
            *turn(["Yes?"]),
        ],
        start_timeout=10.0,
    )
    contexts = [frame.context_id for frame in of(frames, TTSAudioRawFrame)]
    first, last = contexts[0], contexts[-1]
    assert first != last and contexts == sorted(contexts, key=[first, last].index)
    assert live.runtime.metrics.contexts.labels("cancelled")._value.get() == 1


async def test_a_greeting_is_spoken(live: Live) -> None:
    """TTSSpeakFrame, without a language model."""
    service = SovitsLiveTTSService(url=live.http, voice="fake-1", sample_rate=16000)
    frames, _ = await run_test(
        service, frames_to_send=[TTSSpeakFrame("Good morning.")], start_timeout=10.0
    )
    assert {frame.sample_rate for frame in of(frames, TTSAudioRawFrame)} == {16000}
    assert of(frames, TTSStoppedFrame)


async def test_what_fails_is_an_error_frame_and_the_turn_ends(live: Live) -> None:
    """An unknown voice, and no server at all."""
    service = SovitsLiveTTSService(url=live.http, voice="nobody")
    frames, errors = await run_test(service, frames_to_send=turn(["Hello."]), start_timeout=10.0)
    assert any("voice_not_found" in error.error for error in of(errors, ErrorFrame))
    service = SovitsLiveTTSService(url="ws://127.0.0.1:9")
    frames, errors = await run_test(service, frames_to_send=turn(["Hello."]), start_timeout=10.0)
    assert any("no connection" in error.error for error in of(errors, ErrorFrame))
