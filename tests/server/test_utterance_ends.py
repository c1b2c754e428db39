"""How a context's life ends: done, cancelled, failed; and what is said of it then."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import Overloaded
from server import messages
from server.events import CancelRequested
from server.frames import Flags
from server.messages import encode_message
from tests.fakes import Script
from tests.server.stage import PCM, Stage, on_stage, spoken


def test_cancel_mid_sentence_reports_what_was_heard() -> None:
    """The engine is left at once, and the text splits where playback was."""

    async def body(stage: Stage) -> None:
        stage.utterance.append("One two three four five. Six seven")
        task = stage.start()
        await stage.sink.until(lambda: len(stage.sink.packets) >= 20)
        stage.utterance.cancel(CancelRequested(1, "client", played_ms=300.0, fade_ms=80.0))
        await task
        assert not stage.engine.active

    stage = on_stage(body)
    answer = stage.sink.messages()[-1]
    assert isinstance(answer, messages.ContextCancelled)
    # 80 ms per letter of the scripted engine: 300 ms are three letters.
    assert (answer.text_spoken, answer.text_remaining) == ("One", " two three four five. Six seven")
    assert (answer.played_ms, answer.stop_ms, answer.fade_ms) == (300, 0, 80)
    assert answer.last_seq == stage.sink.packets[-1].seq
    assert isinstance(stage.sink.said[-1][1], messages.ContextCancelled)
    assert stage.metrics.registry.get_sample_value("tts_contexts_total", {"end": "cancelled"}) == 1


def test_cancel_without_a_position_assumes_real_time() -> None:
    """By the wall clock since the first packet, never more than was sent."""

    async def body(stage: Stage) -> None:
        stage.utterance.append("One two three four five. Six")
        task = stage.start()
        await asyncio.sleep(0.5)
        stage.utterance.cancel(CancelRequested(1, "client"))
        stage.utterance.cancel(CancelRequested(1, "client"))
        await task

    answers = on_stage(body).sink.messages(messages.ContextCancelled)
    assert len(answers) == 1
    assert 200 <= answers[0].played_ms <= 500
    assert answers[0].text_spoken + answers[0].text_remaining == "One two three four five. Six"


def test_cancel_before_any_audio() -> None:
    """Nothing was sent, nothing was heard."""

    async def body(stage: Stage) -> None:
        stage.utterance.append("One")
        task = stage.start()
        await asyncio.sleep(0)
        stage.utterance.cancel(CancelRequested(1, "preempted"))
        await task

    answer = on_stage(body).sink.messages()[-1]
    assert (answer.reason, answer.sent_ms, answer.last_seq) == ("preempted", 0, -1)
    assert (answer.text_spoken, answer.text_remaining) == ("", "One")


def test_cancel_after_the_end_still_tells_what_was_heard() -> None:
    """The lead is playing when everything has been sent."""

    async def body(stage: Stage) -> None:
        await stage.speak("One two.")
        stage.utterance.cancel(CancelRequested(1, "client", played_ms=240.0))

    answer = on_stage(body).sink.messages()[-1]
    assert (answer.text_spoken, answer.stop_ms) == ("One", 0)


@pytest.mark.parametrize("text", ["", "  ", "😀", "……"])
def test_nothing_to_speak_is_a_short_silence(text: str) -> None:
    """Clients wait for audio: a context never ends without a packet."""
    stage = spoken(text)
    done = stage.sink.messages(messages.ContextDone)[0]
    assert done.total_samples48 == 40 * 48
    assert stage.sink.packets and all(Flags.SILENCE in p.flags for p in stage.sink.packets[:2])
    assert not stage.engine.jobs


@pytest.mark.parametrize(
    ("text", "script", "code", "message"),
    [
        ("カラオケ。", Script(), "unsupported_lang", "sovits-live[ja]"),
        ("One.", Script(fail_text="One."), "engine_failed", "the engine broke"),
        (
            "One.",
            Script(hang_text="One."),
            "synthesis_timeout",
            "sentence 0 gave no audio for 30 s",
        ),
        ("One.", Script(mute_text="One."), "no_audio", "sentence 0 gave no audio"),
        ("💥 One.", Script(), "internal", "an error of the server; its log has it as"),
    ],
)
def test_a_failure_is_one_typed_error(
    text: str, script: Script, code: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No done, the engine is left, the text is not logged."""
    stage = spoken(text, settings=PCM, script=replace(script, tokens_per_chunk=2))
    failed = stage.sink.messages()[-1]
    assert failed[0] == code and message in failed[1]
    assert not stage.sink.messages(messages.ContextDone)
    assert not stage.engine.active
    assert "One" not in caplog.text


def test_an_overload_says_when_to_come_back() -> None:
    """retry_after_ms comes from the engine."""

    async def body(stage: Stage) -> None:
        def refuse(job: object) -> Any:
            raise Overloaded("no slot", retry_after_ms=250)

        stage.engine.synthesize = refuse  # type: ignore[method-assign,assignment]
        await stage.speak("One two.")

    assert on_stage(body).sink.messages()[-1] == ("overloaded", "no slot", 250)


def test_done_is_complete_json() -> None:
    """Usage and timings are numbers a client can use."""
    stage = spoken("One two.", script=Script(step_s=0.01))
    done = json.loads(encode_message(stage.sink.messages()[-1]))
    assert done["usage"] == {"chars": 8, "audio_ms": done["total_samples48"] / 48}
    assert 40 <= done["timings"]["ttfa_ms"] <= 60
    assert 0 < done["timings"]["rtf"] < 1
    value = stage.metrics.registry.get_sample_value
    assert value("chars_total", {"key": "alice"}) == 8
    assert value("tts_lead_seconds_count") >= 1
