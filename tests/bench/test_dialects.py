"""Every kind of socket, spoken to as its documentation has it, on a virtual clock."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench.decode import AudioFormat
from bench.targets.base import Line, TargetConfig
from bench.targets.cartesia import Cartesia
from bench.targets.connect import KINDS, opener
from bench.targets.dashscope import DashScope
from bench.targets.deepgram import Deepgram
from bench.targets.elevenlabs import ElevenLabs
from bench.targets.native import Native
from bench.targets.sockets import Dialect
from engine.errors import InvalidParameter
from tests.bench.scripted import (
    CONFIG,
    TWO_MS,
    Say,
    ScriptedWire,
    holds,
    pcm,
    speak,
    speech,
)

SOUND = pcm(speech(0.2))
BASE64 = base64.b64encode(SOUND).decode()
DASH_END = {"header": {"event": "task-finished", "task_id": "t1"}, "payload": {}}
DASH_START = {"header": {"event": "task-started", "task_id": "t1"}, "payload": {}}


def _dashscope(config: TargetConfig) -> Dialect:
    return DashScope(config, lambda: "t1")


CASES: dict[
    str, tuple[Callable[[TargetConfig], Dialect], str, str | bytes, str, str, list[Any]]
] = {
    # make, what ends the text, the audio, the end, what cancels, what is said before the text
    "elevenlabs": (
        ElevenLabs,
        '"flush": true',
        json.dumps({"audio": BASE64, "contextId": "bench-1"}),
        json.dumps({"isFinal": True, "contextId": "bench-1"}),
        '"close_context": true',
        [],
    ),
    "cartesia": (
        Cartesia,
        '"continue": false',
        json.dumps({"type": "chunk", "context_id": "bench-1", "data": BASE64, "done": False}),
        json.dumps({"type": "done", "context_id": "bench-1", "done": True}),
        '"cancel": true',
        [],
    ),
    "deepgram": (
        Deepgram,
        '"Flush"',
        SOUND,
        json.dumps({"type": "Flushed", "sequence_id": 0}),
        '"Clear"',
        [],
    ),
    "dashscope": (
        _dashscope,
        '"finish-task"',
        SOUND,
        json.dumps(DASH_END),
        '"directive": "cancel"',
        [(holds('"run-task"'), [Say(2.0, json.dumps(DASH_START))])],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_whole_utterance(kind: str) -> None:
    """Text in three tokens, audio 80 ms after the end of the text, then 40 ms later again."""
    make, end, audio, done, _, before = CASES[kind]
    script = [Say(0.08, audio), Say(0.04, audio), Say(0.0, done)]
    wire = ScriptedWire([*before, (holds(end), script)])
    found = speak(make(CONFIG), lambda: wire, Line(("One,", " two,", " three."), 10.0))
    assert found.error == ""
    assert set(found.problems) <= {"repeated_audio"}  # the same sound twice, and it is told
    assert found.first_byte_s == pytest.approx(0.2 + 0.08, abs=TWO_MS)
    assert found.clause_byte_s == pytest.approx(0.2 + 0.08, abs=TWO_MS)
    assert found.gaps_s == pytest.approx([0.04], abs=TWO_MS)
    assert found.audio_s == pytest.approx(0.4)
    said = "".join(str(data) for _, data in wire.sent)
    assert "One," in said and " two," in said and " three." in said


@pytest.mark.parametrize("kind", CASES)
def test_a_cancel_in_the_dialects_own_words(kind: str) -> None:
    """Audio at 80 ms, cancelled 100 ms later, confirmed 30 ms after that."""
    make, end, audio, done, cancel, before = CASES[kind]
    done = done.replace("Flushed", "Cleared")
    first = holds(end)

    def is_cancel(data: str | bytes) -> bool:
        return holds(cancel)(data) and wire.sent[-1][0] > wire.sent[0][0] + 0.1

    wire = ScriptedWire([*before, (first, [Say(0.08, audio)]), (is_cancel, [Say(0.03, done)])])
    found = speak(make(CONFIG), lambda: wire, Line(("One.",), cancel_after_s=0.1))
    if kind == "dashscope":  # its cancel is another finish-task, so the wait for it began before
        assert found.cancel_confirmed_s is not None
        return
    assert found.cancel_confirmed_s == pytest.approx(0.03, abs=TWO_MS)
    assert found.cancel_last_byte_s == 0.0


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("elevenlabs", {"error": "quota", "contextId": "bench-1"}),
        ("cartesia", {"type": "error", "context_id": "bench-1", "message": "quota"}),
        ("deepgram", {"type": "Error", "description": "quota"}),
        (
            "dashscope",
            {"header": {"event": "task-failed", "task_id": "t1", "error_message": "quota"}},
        ),
    ],
)
def test_what_a_server_says_against_it_is_kept(kind: str, message: dict[str, Any]) -> None:
    """The reason is in the error."""
    make, end, _, _, _, before = CASES[kind]
    script = [Say(0.01, json.dumps(message))]
    found = speak(make(CONFIG), lambda: ScriptedWire([*before, (holds(end), script)]), Line(("a",)))
    assert "quota" in found.error and "no_audio" in found.problems


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_the_dialect_has_not_is_refused_before_connecting(kind: str) -> None:
    """The error says which it has."""
    with pytest.raises(InvalidParameter, match="pcm_s16le"):
        opener(kind, replace(CONFIG, format=AudioFormat("flac", 24000)))


def test_only_whole_phrases_are_spoken_as_they_come() -> None:
    """Spoken one by one, tokens would be pieces of words: when to begin is the service's then."""
    whole, tokens = CONFIG, replace(CONFIG, writes_tokens=True)
    assert "auto_mode=true" in ElevenLabs(whole).address().url
    assert "auto_mode" not in ElevenLabs(tokens).address().url
    assert '"max_buffer_delay_ms": 0' in str(Cartesia(whole).text("One."))
    assert "max_buffer_delay_ms" not in str(Cartesia(tokens).text("One"))
    chosen = replace(tokens, options={"auto_mode": "true"})
    assert "auto_mode=true" in ElevenLabs(chosen).address().url


def test_addresses() -> None:
    """The path is added, the scheme is made to fit, the key goes where the dialect wants it."""
    config = replace(CONFIG, url="http://host:1", key="k", voice="v", language="zh")
    found: Sequence[tuple[Dialect, str]] = [
        (Native(config), "ws://host:1/v1/tts/ws"),
        (ElevenLabs(config), "ws://host:1/v1/text-to-speech/v/multi-stream-input?"),
        (Cartesia(config), "ws://host:1/tts/websocket"),
        (Deepgram(config), "ws://host:1/v1/speak?encoding=linear16&sample_rate=24000&model=v"),
        (DashScope(config), "ws://host:1/api-ws/v1/inference"),
    ]
    for dialect, url in found:
        address = dialect.address()
        assert address.url.startswith(url)
        assert any("k" in value.split() for value in address.headers.values())
