"""One context's life: text to sentences to packets, in order and in time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from server import messages, utterance
from server.encoder import AudioEncoder
from server.frames import AudioPacket, Flags
from server.settings import Chunking, Format
from tests.server.stage import PCM, Stage, on_stage, spoken


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


def test_opus_works_as_hard_as_the_server_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """server.opus_complexity reaches the encoder; the stage's is 0."""
    asked = []

    def make(*args: Any, **options: Any) -> AudioEncoder:
        asked.append(options["complexity"])
        return AudioEncoder(*args, **options)

    monkeypatch.setattr(utterance, "AudioEncoder", make)
    spoken("One two.", settings=replace(PCM, format=Format("opus", 24000)))
    assert asked == [0]


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
