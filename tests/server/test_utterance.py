"""One context's life, on a virtual clock: real splitter, encoder and pacer, scripted engine."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import Overloaded
from server import messages
from server.events import CancelRequested
from server.frames import AudioPacket, Flags
from server.messages import ServerMessage, encode_message
from server.metrics import Metrics
from server.outbox import Sent
from server.quotas import Account, Allowance
from server.services import Services
from server.settings import Chunking, Format, Settings
from server.utterance import Utterance
from tests.fakes import Script, ScriptedEngine, ScriptedFrontend
from tests.virtual_time import run

PCM = Settings(voice="anna", seed=7, format=Format("pcm_s16le", 8000))


class RecordingSink:
    """Keeps what an utterance says, with the time it was said."""

    def __init__(self, on_audio: Callable[[], None]) -> None:
        self.said: list[tuple[float, Any]] = []
        self.starved = 0
        self._on_audio = on_audio
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that was said makes a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def packets(self) -> list[AudioPacket]:
        """All packets."""
        return [item for _, item in self.said if isinstance(item, AudioPacket)]

    def messages(self, kind: type | None = None) -> list[Any]:
        """All messages, or those of one kind."""
        found = [item for _, item in self.said if not isinstance(item, AudioPacket)]
        return found if kind is None else [item for item in found if isinstance(item, kind)]

    def times(self) -> list[float]:
        """When each packet was handed over."""
        return [time for time, item in self.said if isinstance(item, AudioPacket)]

    def _note(self, item: object) -> None:
        self.said.append((asyncio.get_running_loop().time(), item))
        self._changed.set()

    def send(self, message: ServerMessage) -> bool:
        """See Sink."""
        encode_message(message)
        self._note(message)
        return True

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        for packet in packets:
            self._note(packet)
        self._on_audio()
        self._changed.set()
        return True

    def fail(self, code: str, message: str, *, request_id: str, retry_after_ms: int | None) -> None:
        """See Sink."""
        self._note((code, message, retry_after_ms))

    def starve(self) -> None:
        """See Sink."""
        self.starved += 1

    def sent(self) -> Sent:
        """See Sink."""
        if not self.packets:
            return Sent()
        last = self.packets[-1]
        return Sent(last.seq, last.pts + last.duration)


class Stage:
    """An utterance with everything around it."""

    def __init__(self, settings: Settings = PCM, script: Script | None = None) -> None:
        self.engine = ScriptedEngine(script)
        self.engine.is_ready = True
        self.metrics = Metrics()
        self.sink = RecordingSink(lambda: self.engine.journal.append("packet"))
        services = Services(
            engine=self.engine,
            frontend=ScriptedFrontend(),
            metrics=self.metrics,
            clock=asyncio.get_running_loop().time,
            new_job_id=itertools.count(1).__next__,
            new_seed=lambda: 99,
            encoder_pool=None,
            synthesis_timeout_s=30.0,
        )
        self.utterance = Utterance(
            services,
            self.sink,
            ctx="c",
            alias=1,
            settings=settings,
            account=Account("alice", Allowance(), lambda: 0.0),
        )

    async def speak(self, *texts: str) -> Stage:
        """Say texts, end, and wait until it is over."""
        for text in texts:
            self.utterance.append(text)
        self.utterance.end()
        await self.utterance.run()
        return self

    def start(self) -> asyncio.Task[None]:
        """Run beside the test."""
        return asyncio.create_task(self.utterance.run())


def on_stage(
    body: Callable[[Stage], Awaitable[None]],
    settings: Settings = PCM,
    script: Script | None = None,
) -> Stage:
    """Run a test's body with a stage on a virtual clock."""

    async def main() -> Stage:
        stage = Stage(settings, script)
        await body(stage)
        return stage

    return run(main())


def spoken(*texts: str, settings: Settings = PCM, script: Script | None = None) -> Stage:
    """Say texts to the end."""

    async def body(stage: Stage) -> None:
        await stage.speak(*texts)

    return on_stage(body, settings, script)


def test_messages_frame_the_audio_in_order() -> None:
    """started, segment, packets, segment done, done; sentences cover the text."""
    stage = spoken("One two three four. ", "Five six seven eight.")
    sink = stage.sink
    kinds = [m.TYPE for m in sink.messages()]
    assert kinds[0] == "context.started" and kinds[-1] == "context.done"
    segments = sink.messages(messages.SegmentStarted)
    assert "".join(s.text for s in segments) == "One two three four. Five six seven eight."
    assert [(s.start, s.end) for s in segments] == [(0, segments[0].end), (segments[0].end, 41)]
    started = sink.messages()[0]
    assert (started.codec, started.rate, started.pre_skip, started.seed) == (
        "pcm_s16le",
        8000,
        0,
        7,
    )
    assert stage.engine.forgotten == [stage.utterance.id]
    assert not stage.engine.active


def test_packets_are_numbered_and_their_clock_is_exact() -> None:
    """seq and pts have no holes, flags mark first, last and sentences, the length is exact."""
    stage = spoken("One two three four. Five six seven eight.")
    packets = stage.sink.packets
    assert [p.seq for p in packets] == list(range(len(packets)))
    assert packets[0].pts == 0
    for before, after in itertools.pairwise(packets):
        assert after.pts == before.pts + before.duration
    done = stage.sink.messages(messages.ContextDone)[0]
    last = packets[-1]
    assert done.packets == len(packets)
    assert done.total_samples48 == last.pts + last.duration
    audio = sum(2 * len(j.phonemes) * 1920 + j.pause_ms * 48 for j in stage.engine.jobs)
    assert done.total_samples48 == audio
    tokens = sum(s.tokens for s in stage.sink.messages(messages.SegmentDone))
    pauses = sum(s.pause_ms for s in stage.sink.messages(messages.SegmentStarted))
    assert pauses > 0
    assert done.total_samples48 == tokens * 40 * 48 + pauses * 48
    assert packets[0].flags & (Flags.FIRST | Flags.SEG_START) == Flags.FIRST | Flags.SEG_START
    assert [p.seg for p in packets if Flags.SEG_START in p.flags] == [0, 1]
    assert [Flags.LAST in p.flags for p in packets].count(True) == 1
    assert Flags.LAST in last.flags
    starts = [s.pts for s in stage.sink.messages(messages.SegmentStarted)]
    for start, packet in zip(
        starts, [p for p in packets if Flags.SEG_START in p.flags], strict=True
    ):
        assert packet.pts <= start < packet.pts + packet.duration
    ends = [s.pts_end for s in stage.sink.messages(messages.SegmentDone)]
    assert ends == [*starts[1:], done.total_samples48]


def test_first_packet_leaves_before_the_last_token() -> None:
    """By order of events: audio streams while the sentence is still being generated."""
    gate = asyncio.Event

    async def body(stage: Stage) -> None:
        stage.engine.script.gates[0] = held = gate()
        stage.utterance.append("One two three four five.")
        stage.utterance.end()
        task = stage.start()
        await stage.sink.until(lambda: "packet" in stage.engine.journal)
        held.set()
        await task

    journal = on_stage(body).engine.journal
    total = next(e.split("/")[1] for e in journal if e.startswith("token 0"))
    assert journal.index("packet") < journal.index(f"token 0.{total}/{total}")


def test_the_next_sentence_is_made_while_one_plays() -> None:
    """With a lead of 400 ms, sentence 1 starts in the engine before sentence 0 is sent."""
    settings = replace(PCM, lead_ms=400)
    journal = spoken("One two three four. Five six seven eight.", settings=settings).engine.journal
    sent_when_started = journal[: journal.index("start 1")].count("packet")
    assert sent_when_started < journal.count("packet") / 2


def test_packets_keep_to_the_lead() -> None:
    """No packet is more than lead_ms ahead of real time, and none is late."""
    stage = spoken("One two three four five six. " * 4, settings=replace(PCM, lead_ms=500))
    times = stage.sink.times()
    for time, packet in zip(times, stage.sink.packets, strict=True):
        ahead = (packet.pts + packet.duration) / 48000 - (time - times[0])
        assert 0 <= ahead <= 0.5 + 0.06  # one message more: the first batch is longer than the last
    done = stage.sink.messages(messages.ContextDone)[0]
    assert done.timings.underruns_est == 0


def test_the_engine_is_granted_little_more_than_the_lead() -> None:
    """A listener who stops acknowledging stops the generation for him."""

    async def body(stage: Stage) -> None:
        stage.utterance.append("One two three four five six. " * 6)
        stage.utterance.end()
        task = stage.start()
        await asyncio.sleep(0.1)
        stage.utterance.ack(50.0, None)
        await asyncio.sleep(30)
        assert not task.done()
        granted = stage.engine.grants[stage.utterance.id]
        sent = sum(p.duration for p in stage.sink.packets) / 48000
        assert granted < 1.0 + 0.5 + 1.0 + 0.2
        assert sent < 1.5
        assert stage.utterance.stalled_s(asyncio.get_running_loop().time()) > 28
        while not task.done():
            stage.utterance.ack(None, stage.sink.packets[-1].seq)
            await asyncio.sleep(0.1)
        assert stage.engine.grants[stage.utterance.id] > granted
        assert stage.utterance.stalled_s(asyncio.get_running_loop().time()) == 0
        stage.utterance.ack(None, None)

    on_stage(body, replace(PCM, lead_ms=500))


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


def test_flush_is_answered_after_its_audio() -> None:
    """flush.done carries the id and comes behind the packets of what was flushed."""

    async def body(stage: Stage) -> None:
        task = stage.start()
        stage.utterance.append("One two")
        stage.utterance.flush("f1")
        await asyncio.sleep(5)
        assert stage.sink.starved > 0
        stage.utterance.append(" three")
        stage.utterance.end()
        await task

    sink = on_stage(body).sink
    kinds = [m.TYPE for m in sink.messages()]
    assert kinds.index("segment.done") < kinds.index("flush.done") < len(kinds) - 1
    flushed = sink.messages(messages.FlushDone)[0]
    assert (flushed.id, flushed.pts_end) == ("f1", sink.messages(messages.SegmentDone)[0].pts_end)


def test_buffered_text_is_spoken_when_the_writer_pauses() -> None:
    """A short text without an end is flushed by the splitter's idle timer."""

    async def body(stage: Stage) -> None:
        task = stage.start()
        stage.utterance.append("One")
        await asyncio.sleep(3)
        assert [s.text for s in stage.sink.messages(messages.SegmentStarted)] == ["One"]
        stage.utterance.end()
        await task

    on_stage(body)


def test_update_changes_the_next_sentences() -> None:
    """Speed, style and voice of the sentence that is being spoken stay."""

    async def body(stage: Stage) -> None:
        task = stage.start()
        stage.utterance.append("One two three four. ")
        await asyncio.sleep(1)
        stage.utterance.update(replace(PCM, speed=1.5, style="sad", voice="anna"))
        stage.utterance.append("Five six seven.")
        stage.utterance.end()
        await task

    jobs = on_stage(body).engine.jobs
    assert [(job.params.speed, job.style) for job in jobs] == [(1.0, "default"), (1.5, "sad")]
    assert {job.params.seed for job in jobs} == {7}


def test_a_seed_is_drawn_when_none_is_given() -> None:
    """And reported, so that the same audio can be asked for again."""
    stage = spoken("One two.", settings=replace(PCM, seed=None))
    assert stage.sink.messages()[0].seed == 99
    assert stage.engine.jobs[0].params.seed == 99


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


def test_batches_when_far_ahead() -> None:
    """Beyond 500 ms of lead three packets share a message, the first is alone."""
    stage = spoken(
        "One two three four five six seven eight nine.", settings=replace(PCM, lead_ms=0)
    )
    messages_sent = stage.engine.journal.count("packet")
    assert messages_sent < 0.6 * len(stage.sink.packets)  # a chunk's last one may be short
    raw = spoken("One two three.", settings=replace(PCM, lead_ms=0, framing="raw"))
    assert raw.engine.journal.count("packet") == len(raw.sink.packets)


def test_auto_mode_speaks_each_append() -> None:
    """The caller's phrases are the sentences."""

    async def body(stage: Stage) -> None:
        await stage.speak("One", " two", " three")

    stage = on_stage(body, replace(PCM, chunking=Chunking(auto=True)))
    assert [s.text for s in stage.sink.messages(messages.SegmentStarted)] == [
        "One",
        " two",
        " three",
    ]


def test_opus_announces_its_delay() -> None:
    """pre_skip in context.started, padded packets, exact total in context.done."""
    stage = spoken("One two.", settings=replace(PCM, format=Format("opus", 24000)))
    started, done = stage.sink.messages()[0], stage.sink.messages(messages.ContextDone)[0]
    assert started.pre_skip == 312
    end = stage.sink.packets[-1].pts + stage.sink.packets[-1].duration
    assert end >= done.total_samples48 + started.pre_skip


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_timings_come_before_or_after_their_packets(mode: Any) -> None:
    """They cover every word once and never contradict the packets' clock."""
    settings = replace(PCM, timings=("word", "rms"), timing_mode=mode, lead_ms=0)
    sink = spoken("One two.", settings=settings).sink
    order = [item for _, item in sink.said]
    first = next(i for i, item in enumerate(order) if isinstance(item, messages.TimingEvent))
    packet = next(i for i, item in enumerate(order) if isinstance(item, AudioPacket))
    assert (first < packet) == (mode == "sync")
    events = sink.messages(messages.TimingEvent)
    rows = [row for event in events for row in event.words or ()]
    assert [row[0] for row in rows] == [0, 1, 2, 4, 5, 6]
    assert [row[2] for row in rows] == [80 * i for i in range(6)]
    done = sink.messages(messages.ContextDone)[0]
    windows = sum(len(event.rms) for event in events)
    assert windows == -(-done.total_samples48 // 960)


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
