"""Must hold: every clock is within 2 ms of a script, and planted faults are found."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.clocks import Clocks, clause_end_s
from bench.decode import AudioFormat
from bench.targets.api_v2 import ApiV2
from bench.targets.base import Line, TargetConfig
from bench.targets.native import Native
from bench.targets.openai import OpenAI
from tests.bench.scripted import (
    CONFIG,
    RATE_HZ,
    TWO_MS,
    Packets,
    Say,
    ScriptedPost,
    ScriptedWire,
    done,
    holds,
    pcm,
    post,
    silence,
    speak,
    speech,
    started,
)

HELLO = Line(("Hello there.",))
OPENED = (holds("context.open"), [Say(0.01, started())])


def native(script: Sequence[Say], line: Line = HELLO, trigger: str = '"end"') -> Clocks:
    """Speak to a native server that runs `script` once it is sent `trigger`."""
    return speak(Native(CONFIG), lambda: ScriptedWire([OPENED, (holds(trigger), script)]), line)


def steady(count: int = 10, first_s: float = 0.12, gap_s: float = 0.02) -> list[Say]:
    """Return packets of 20 ms and the end."""
    make = Packets()
    packets = [Say(gap_s if i else first_s, make(speech(0.02, i))) for i in range(count)]
    return [*packets, Say(0.0, done(0.02 * count))]


def test_every_clock_of_a_steady_answer_is_the_scripts() -> None:
    """First byte, frame and sound at 120 ms, gaps of 20 ms, nothing wrong."""
    found = native(steady())
    assert found.problems == () and found.error == ""
    for value in (found.first_byte_s, found.first_frame_s, found.first_audible_s):
        assert value == pytest.approx(0.12, abs=TWO_MS)
    assert found.gaps_s == pytest.approx([0.02] * 9, abs=TWO_MS)
    assert found.wall_s == pytest.approx(0.30, abs=TWO_MS)
    assert found.audio_s == pytest.approx(0.2)
    assert found.rtf == pytest.approx(0.30 / 0.2, abs=0.01)
    assert [p.underruns for p in found.playouts.values()] == [0, 0, 0]


def test_opening_a_context_is_before_the_clocks() -> None:
    """The time a context needs to open is not in the first byte."""
    slow = (holds("context.open"), [Say(3.0, started())])
    wire = ScriptedWire([slow, (holds('"end"'), steady())])
    found = speak(Native(CONFIG), lambda: wire, HELLO)
    assert found.first_byte_s == pytest.approx(0.12, abs=TWO_MS)


def test_tokens_are_written_at_their_rate_and_both_starts_are_told_apart() -> None:
    """Eleven tokens at 20 a second; the clause ends with the sixth, 250 ms after the first."""
    tokens = ("Well", " then", " my", " old", " friend", ",", " go", " on", " and", " say", ".")
    wire = ScriptedWire([OPENED, (holds('","'), []), (holds('": ","'), steady())])
    found = speak(Native(CONFIG), lambda: wire, Line(tokens, 20.0))
    times = [at for at, data in wire.sent if '"text"' in str(data)]
    steps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert steps == pytest.approx([0.05] * 10, abs=TWO_MS)
    assert found.first_byte_s == pytest.approx(0.25 + 0.12, abs=TWO_MS)
    assert found.clause_byte_s == pytest.approx(0.12, abs=TWO_MS)
    assert found.clause_audible_s == pytest.approx(0.12, abs=TWO_MS)


@pytest.mark.parametrize("silent_s", [0.03, 0.17, 0.5])
def test_leading_silence_is_in_the_audible_clock_only(silent_s: float) -> None:
    """Speech that begins later in the stream sounds later, though its bytes came at once."""
    make = Packets()
    script = [
        Say(0.1, make(silence(silent_s))),
        Say(0.0, make(speech(0.5))),
        Say(0.0, done(silent_s + 0.5)),
    ]
    found = native(script)
    assert found.first_frame_s == pytest.approx(0.1, abs=TWO_MS)
    assert found.first_audible_s == pytest.approx(0.1 + silent_s, abs=TWO_MS)
    assert found.leading_silence_s == pytest.approx(silent_s, abs=TWO_MS)
    assert ("leading_silence" in found.problems) == (silent_s > 0.1)


def test_speech_that_arrives_after_the_silence_is_over_sounds_when_it_arrives() -> None:
    """50 ms of silence, then nothing for 300 ms, then speech."""
    make = Packets()
    script = [Say(0.1, make(silence(0.05))), Say(0.3, make(speech(0.4))), Say(0.0, done(0.45))]
    found = native(script)
    assert found.first_audible_s == pytest.approx(0.4, abs=TWO_MS)
    assert found.playouts[60].underruns == 0  # it waited for 60 ms, so for the speech
    assert found.gaps_s == pytest.approx([0.3], abs=TWO_MS)


def test_silence_only_is_told() -> None:
    """A stream without a sound has no audible clock."""
    found = native([Say(0.1, Packets()(silence(0.5))), Say(0.0, done(0.5))])
    assert found.first_audible_s is None and found.problems == ("silent",)


def test_underruns_are_counted_for_each_buffer() -> None:
    """A gap of 170 ms after 100 ms of audio: 60 ms and 100 ms of buffer run dry, 200 ms does not.

    Packets of 20 ms come every 10 ms, so that what a larger buffer waits for is there in time.
    """
    make = Packets()
    times = [0.1] + [0.01] * 4 + [0.17] + [0.01] * 14
    script = [Say(at, make(speech(0.02, i))) for i, at in enumerate(times)]
    found = native([*script, Say(0.0, done(0.4))])
    # Started when 60 (100) ms are there, at 120 (140) ms; dry at 220 (240); next at 310 ms.
    assert found.playouts[60].underruns == 1
    assert found.playouts[60].stalled_s == pytest.approx(0.09, abs=TWO_MS)
    assert found.playouts[100].underruns == 1
    assert found.playouts[100].stalled_s == pytest.approx(0.07, abs=TWO_MS)
    assert (found.playouts[200].underruns, found.playouts[200].stalled_s) == (0, 0.0)


def test_a_container_header_is_no_audio() -> None:
    """The first byte at 50 ms is a WAV header; the first sample comes 300 ms later."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    header = b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"
    answer = ScriptedPost([(0.05, header), (0.3, pcm(speech(0.2)))])
    found = post(ApiV2(_with_codec("wav")), answer, HELLO)
    assert found.first_byte_s == pytest.approx(0.05, abs=TWO_MS)
    assert found.first_frame_s == pytest.approx(0.35, abs=TWO_MS)
    assert found.first_audible_s == pytest.approx(0.35, abs=TWO_MS)
    assert found.problems == ("header_only_first_byte",)
    only = post(ApiV2(_with_codec("wav")), ScriptedPost([(0.05, header)]), HELLO)
    assert "header_only" in only.problems


def test_half_a_sample_is_no_frame() -> None:
    """One byte of 16-bit audio completes nothing."""
    data = pcm(speech(0.2))
    found = post(OpenAI(CONFIG), ScriptedPost([(0.05, data[:1]), (0.1, data[1:])]), HELLO)
    assert found.first_byte_s == pytest.approx(0.05, abs=TWO_MS)
    assert found.first_frame_s == pytest.approx(0.15, abs=TWO_MS)


def test_http_waits_for_the_whole_text() -> None:
    """What streams in counts against a server that needs it whole."""
    answer = ScriptedPost([(0.1, pcm(speech(0.2)))])
    found = post(OpenAI(CONFIG), answer, Line(("One,", " two,", " three."), 10.0))
    assert [request.body["input"] for request in answer.requests] == ["One, two, three."]
    assert found.first_byte_s == pytest.approx(0.2 + 0.1, abs=TWO_MS)
    assert found.clause_byte_s == pytest.approx(0.2 + 0.1, abs=TWO_MS)


@pytest.mark.parametrize("repeated_s", [0.04, 0.1])
def test_audio_sent_twice_is_found_without_numbers(repeated_s: float) -> None:
    """A chunk begins with the end of the one before, a known defect of a public server."""
    first = speech(0.5, 1)
    again = first[-round(repeated_s * RATE_HZ) :]
    second = speech(0.5, 2)
    plain = post(OpenAI(CONFIG), ScriptedPost([(0.1, pcm(first)), (0.1, pcm(second))]), HELLO)
    assert plain.problems == ()
    pieces = [(0.1, pcm(first)), (0.1, pcm(again) + pcm(second))]
    assert post(OpenAI(CONFIG), ScriptedPost(pieces), HELLO).problems == ("repeated_audio",)


def test_packets_sent_twice_left_out_or_out_of_order_are_found() -> None:
    """By their numbers."""
    cases = {
        (0, 1, 1, 2): "repeated_packet",
        (0, 1, 3): "missing_packet",
        (0, 2, 1): "packet_order",
    }
    for numbers, problem in cases.items():
        make = Packets()
        script = [Say(0.01, make(speech(0.1, 9 + i), seq=n)) for i, n in enumerate(numbers)]
        found = native([*script, Say(0.0, done(0.1 * len(numbers)))])
        assert found.problems == (problem,), numbers


def test_audio_missing_from_the_declared_length_is_found() -> None:
    """The server says 1 s and sends 0.9 s."""
    make = Packets()
    script = [Say(0.1, make(speech(0.9))), Say(0.0, done(1.0))]
    assert native(script).problems == ("missing_audio",)


def test_a_connection_that_breaks_is_an_error_with_its_clocks() -> None:
    """What came before it is still measured."""
    found = native([*steady()[:-1], Say(0.01, "")])
    assert found.problems == ("error",) and "1006" in found.error
    assert found.first_byte_s == pytest.approx(0.12, abs=TWO_MS)
    cut = post(OpenAI(CONFIG), ScriptedPost([(0.1, pcm(speech(0.2))), (0.1, b"")]), HELLO)
    assert cut.error == "cut off"
    refused = post(OpenAI(CONFIG), ScriptedPost([(0.1, b"busy")], status=503), HELLO)
    assert refused.error == "HTTP 503: busy" and "no_audio" in refused.problems


def test_a_cancel_is_timed_to_the_last_byte_and_to_its_answer() -> None:
    """Cancelled 100 ms after the first audio; one packet comes 15 ms later, the answer after 40."""
    make = Packets()
    packets = [Say(0.05, make(speech(0.05, i))) for i in range(3)]  # 50, 100, 150 ms; cancel at 150
    answer = json.dumps({"type": "context.cancelled", "ctx": "bench-1"})
    stop = [Say(0.015, make(speech(0.05, 8))), Say(0.025, answer)]
    wire = ScriptedWire([OPENED, (holds('"end"'), packets), (holds('"cancel"'), stop)])
    found = speak(Native(CONFIG), lambda: wire, Line(("Hello.",), cancel_after_s=0.1))
    assert found.cancel_last_byte_s == pytest.approx(0.015, abs=TWO_MS)
    assert found.cancel_confirmed_s == pytest.approx(0.040, abs=TWO_MS)
    assert found.problems == () and found.rtf is None


def test_a_cancel_nobody_answers_ends_when_it_is_quiet() -> None:
    """The last byte is timed, the answer is not made up."""
    script = steady(40)
    wire = ScriptedWire([OPENED, (holds('"end"'), script[:-1])])
    found = speak(Native(CONFIG), lambda: wire, Line(("Hello.",), cancel_after_s=0.1))
    assert found.cancel_last_byte_s == pytest.approx(0.68, abs=TWO_MS)  # it did not stop
    assert found.cancel_confirmed_s is None


def test_waiting_for_a_turn_is_in_every_clock() -> None:
    """In an open loop the clock starts when the request is due, not when somebody is free."""
    found = native(steady(), Line(HELLO.tokens, late_s=0.5))
    assert found.first_byte_s == pytest.approx(0.62, abs=TWO_MS)
    assert found.clause_audible_s == pytest.approx(0.62, abs=TWO_MS)


@pytest.mark.parametrize(
    ("tokens", "index"),
    [
        (("It", " is", " 3.14", " exactly", "."), 4),
        (("好", "的", "，", "走", "。"), 2),
        (("no", " end"), 1),
        (("One. Two.",), 0),
    ],
)
def test_the_clause_ends_with_the_token_that_has_its_punctuation(
    tokens: tuple[str, ...], index: int
) -> None:
    """Not with a decimal point; without any, with the last token."""
    assert clause_end_s([(float(i), token) for i, token in enumerate(tokens)]) == index


def _with_codec(codec: str) -> TargetConfig:
    return replace(CONFIG, format=AudioFormat(codec, RATE_HZ))
