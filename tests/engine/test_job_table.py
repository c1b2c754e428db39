"""The table of open sentences: what each lane is shown."""

from __future__ import annotations

import numpy as np

from engine.backends.fake import fake_voices
from engine.chunking import Chunk, ChunkSchedule
from engine.job import Job
from engine.job_table import JobTable
from engine.model_config import AcousticConfig, ModelConfig, T2SConfig
from engine.playout import PlayoutClock
from engine.scheduler import Phase
from tests.engine.jobs import make_job

CONFIG = ModelConfig("v2", T2SConfig(), AcousticConfig())


def add(table: JobTable, utterance: str, index: int, clock: PlayoutClock) -> Job:
    """Put a sentence into a table."""
    job = make_job(utterance=utterance, index=index)
    style = fake_voices()["fake"].styles["default"]
    added = Job(job, style, clock, config=CONFIG, max_positions=100, schedule=ChunkSchedule())
    table.add(added)
    return added


def spoken(job: Job) -> None:
    """Let a job have a chunk that waits for the acoustic lane."""
    job.chunks.append(Chunk(np.arange(5), 5, False, False))


def numbers(views: list) -> list[int]:
    """Return the jobs of some views."""
    return sorted(view.job_id for view in views)


def test_the_acoustic_lane_sees_the_sentence_that_is_heard() -> None:
    """The earliest of an utterance, however they came, once it has a chunk and is not worked on."""
    table, clock = JobTable(), PlayoutClock(0.0, first_audio_s=0.25)
    second, first = (add(table, "u", index, clock) for index in (1, 0))
    spoken(second)
    assert table.for_acoustic(0.0, set()) == []
    spoken(first)
    assert numbers(table.for_acoustic(0.0, set())) == [first.job.job_id]
    assert table.for_acoustic(0.0, {"u"}) == []
    table.remove(first)
    assert numbers(table.for_acoustic(0.0, set())) == [second.job.job_id]
    clock.granted_s = 0.0
    assert table.for_acoustic(0.0, set()) == []


def test_the_semantic_lane_sees_who_wants_something() -> None:
    """Only where slots are short do those matter that stand still or are decoded to their end."""
    table = JobTable()
    content, eager = (PlayoutClock(0.0, first_audio_s=0.25) for _ in range(2))
    content.granted_s = 0.0
    held = add(table, "content", 0, content)
    ended, waiting = (add(table, "eager", index, eager) for index in (0, 1))
    ended.phase = Phase.SPEAKING
    shown = table.for_semantic(0.0, are_slots_short=False)
    assert numbers(shown) == [waiting.job.job_id]
    every = sorted(job.job.job_id for job in (held, ended, waiting))
    assert numbers(table.for_semantic(0.0, are_slots_short=True)) == every


def test_a_later_sentence_is_due_when_those_before_it_end() -> None:
    """What they still have to give is guessed from their phonemes."""
    table, clock = JobTable(), PlayoutClock(0.0, first_audio_s=0.25)
    first, _ = (add(table, "u", index, clock) for index in (0, 1))
    early, late = table.for_semantic(0.0, are_slots_short=False)
    assert late.deadline_s == early.deadline_s + first.expected_rest_s > early.deadline_s


def test_what_is_over_leaves_nothing() -> None:
    """Removing twice is no fault."""
    table, clock = JobTable(), PlayoutClock(0.0, first_audio_s=0.25)
    job = add(table, "u", 0, clock)
    assert table.get(job.job.job_id) is job
    table.remove(job)
    table.remove(job)
    assert (len(table), list(table), table.get(job.job.job_id)) == (0, [], None)
    assert table.for_semantic(0.0, are_slots_short=True) == []
