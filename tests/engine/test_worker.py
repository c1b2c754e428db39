"""What goes wrong inside the engine costs the sentences it must, and nothing else."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from engine.backends.fake import FakeBackend, FakeScript, FakeSemantic, fake_voices
from engine.collapse import MAX_EQUAL_RUN
from engine.config import EngineConfig
from engine.errors import EngineFailed, Overloaded, SovitsError
from engine.messages import Event, Failed, Spoken
from engine.sampling import Choice, Draw, choose
from engine.scheduler import Scheduler
from engine.types import TOKEN_HZ, FloatArray, IntArray, SentenceJob
from engine.voice_source import VoiceTable
from engine.worker import Worker
from tests.engine.jobs import fake_audio, make_job

WAIT_S = 60.0


class Engine:
    """A worker on the fake backend, and what it said of each job."""

    def __init__(self, backend: FakeBackend | None = None, **config: Any) -> None:
        self.backend = backend or FakeBackend()
        self.voices = VoiceTable(fake_voices())
        self.worker = Worker(
            self.backend,
            self.voices,
            EngineConfig(backend="fake", num_slots=2, **config),
            self._note,
        )
        self._events: dict[int, list[Event]] = {}
        self._changed = threading.Condition()

    def _note(self, event: Event) -> None:
        assert isinstance(event, Spoken | Failed)
        job_id = event.job_id if isinstance(event, Failed) else event.chunk.job_id
        with self._changed:
            self._events.setdefault(job_id, []).append(event)
            self._changed.notify_all()

    def outcome(self, job: SentenceJob) -> SovitsError | np.ndarray:
        """Wait for a job's end; return its error or its samples."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_over(job.job_id), WAIT_S)
            events = self._events[job.job_id]
        if isinstance(events[-1], Failed):
            assert isinstance(events[-1].error, SovitsError)
            return events[-1].error
        return np.concatenate([e.chunk.samples for e in events if isinstance(e, Spoken)])

    def _is_over(self, job_id: int) -> bool:
        return any(isinstance(e, Failed) or e.chunk.is_final for e in self._events.get(job_id, []))  # type: ignore[union-attr]

    def check_well(self) -> None:
        """Speak on every slot at once: all of them must be free."""
        jobs = [make_job(utterance=f"well{n}") for n in range(2)]
        for job in jobs:
            self.worker.submit(job)
        for job in jobs:
            np.testing.assert_array_equal(self.outcome(job), fake_audio(job))
        assert self.worker.stats().slots_used == 0


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A running engine of two slots."""
    engine = Engine()
    engine.worker.start()
    yield engine
    engine.worker.close()


def fail_once(target: object, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next call of a method raise, once."""
    real = getattr(target, name)

    def broken(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(target, name, real)
        raise error

    monkeypatch.setattr(target, name, broken)


@pytest.mark.parametrize("method", ["next_semantic", "next_acoustic", "slots"])
def test_a_bug_in_a_lane_costs_the_open_sentences(
    method: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fail retryably, their slots are free, and the lane goes on."""
    error = KeyError("a bug")
    if method == "slots":  # after the network call, with rows marked as being in it
        fail_once(engine.worker, "_note_semantic_cost", error, monkeypatch)
    else:
        fail_once(Scheduler, method, error, monkeypatch)
    job = make_job()
    engine.worker.submit(job)
    outcome = engine.outcome(job)
    # The lanes also look for work before there is any: then the bug cost nobody anything.
    if method == "slots":
        assert isinstance(outcome, EngineFailed) and outcome.retryable
        assert "a bug" not in str(outcome)
    engine.check_well()


def test_a_change_between_looking_and_waiting_is_not_missed(engine: Engine) -> None:
    """A lane that found no work waits for the next change, not for the one it just missed."""
    seen = engine.worker._num_changes
    engine.worker.submit(make_job())  # notified while the lane does not wait yet
    started = time.monotonic()
    for _ in range(100):
        engine.worker._wait_for_change(seen)
    assert time.monotonic() - started < 5.0  # each would take its timeout of 0.1 s


def test_no_memory_is_a_refusal_of_that_sentence(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retryable, whatever type the runtime gives it; the next sentence is spoken."""
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB")):
        fail_once(engine.backend.semantic, "prefill", error, monkeypatch)
        job = make_job()
        engine.worker.submit(job)
        assert isinstance(engine.outcome(job), Overloaded)
    engine.check_well()


def test_memory_goes_back_when_the_last_sentence_is_spoken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for both: not while another one is open."""
    trims: list[int] = []
    engine = Engine()
    monkeypatch.setattr("engine.worker.trim", lambda: trims.append(len(engine.worker._jobs)))
    jobs = [make_job(utterance=f"u{n}") for n in range(2)]
    for job in jobs:
        engine.worker.submit(job)  # before the lanes start, so that both are open together
    engine.worker.start()
    for job in jobs:
        engine.outcome(job)
    engine.worker.close()
    assert trims == [0]


def test_more_sentences_than_the_engine_holds_are_refused() -> None:
    """The limit counts those that wait; what was taken is spoken."""
    engine = Engine(max_jobs=3)
    jobs = [make_job(utterance=f"u{n}") for n in range(5)]
    for job in jobs:
        engine.worker.submit(job)  # nothing runs yet
    engine.worker.start()
    try:
        outcomes = [engine.outcome(job) for job in jobs]
    finally:
        engine.worker.close()
    assert [isinstance(outcome, Overloaded) for outcome in outcomes] == [False] * 3 + [True] * 2


def test_a_thousand_random_cancels_leave_nothing_behind(engine: Engine) -> None:
    """Jobs, clocks, free slots and the cache's rows are as before, wherever each was cancelled."""
    dice = random.Random(7)
    open_jobs: list[SentenceJob] = []
    for number in range(1000):
        job = make_job(*range(20, 26), utterance=f"u{number}")
        engine.worker.grant(job.utterance_id, dice.choice([0.1, 60.0]))
        engine.worker.submit(job)
        open_jobs.append(job)
        if dice.random() < 0.2:
            time.sleep(0.001 * dice.random())  # so that they are cancelled at every age
        while len(open_jobs) > dice.randrange(6):
            gone = open_jobs.pop(dice.randrange(len(open_jobs)))
            engine.worker.cancel(gone.job_id)
            engine.worker.forget(gone.utterance_id)
    for job in open_jobs:
        engine.worker.cancel(job.job_id)
        engine.worker.forget(job.utterance_id)
    engine.check_well()
    for number in range(2):
        engine.worker.forget(f"well{number}")
    assert engine.worker.stats().jobs_cancelled > 500
    assert (list(engine.worker._jobs), engine.worker._clocks) == ([], {})
    assert sorted(engine.worker._free_slots) == [0, 1]
    assert engine.backend.semantic._rows == {}


def test_a_collapsed_sentence_ends_and_is_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that says one token for ever costs a few seconds of audio, not a minute."""
    stuck = np.full(engine.backend.config.t2s.vocab_size, -50.0, np.float32)
    stuck[7] = 50.0
    monkeypatch.setattr(engine.backend.semantic, "_logits", lambda slot: stuck)
    job = make_job()
    engine.worker.submit(job)
    audio = engine.outcome(job)
    assert isinstance(audio, np.ndarray)
    assert 0 < len(audio) / 32000 < 3 * MAX_EQUAL_RUN / TOKEN_HZ
    stats = engine.worker.stats()
    assert (stats.jobs_done, stats.jobs_collapsed) == (1, 1)


def test_a_voice_that_cannot_be_read_costs_its_sentence(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error nobody foresaw does not leave `submit`, which runs in the engine's main loop."""
    fail_once(engine.voices, "style", OSError("disk"), monkeypatch)
    job = make_job()
    engine.worker.submit(job)
    assert isinstance(engine.outcome(job), EngineFailed)
    engine.check_well()


def test_a_slot_that_is_not_released_cleanly_is_used_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing release neither ends the lane nor loses the slot."""
    real = engine.backend.semantic.release

    def noisy(slot: int) -> None:
        real(slot)
        raise RuntimeError("release")

    monkeypatch.setattr(engine.backend.semantic, "release", noisy)
    for _ in range(3):
        engine.check_well()


class ChoosingFake(FakeSemantic):
    """Draws where its logits are, and keeps them."""

    def choose(
        self, slots: Sequence[int], tokens: IntArray, draws: Sequence[Draw]
    ) -> Sequence[Choice]:
        rows = super().decode(slots, tokens)
        return [choose(row, draw) for row, draw in zip(rows, draws, strict=True)]

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        raise AssertionError("logits were asked for")


@pytest.fixture
def choosing() -> Iterator[Engine]:
    """An engine whose decoder chooses the tokens."""
    script = FakeScript(fail_at_phoneme={90: "the third token is cursed"})
    backend = FakeBackend(script)
    backend.semantic = ChoosingFake(backend.config.t2s, script)
    engine = Engine(backend)
    engine.worker.start()
    yield engine
    engine.worker.close()


def test_a_decoder_that_chooses_is_not_asked_for_logits(choosing: Engine) -> None:
    """Side by side, to the end of each sentence."""
    choosing.check_well()


def test_a_choice_that_fails_costs_its_own_sentence(choosing: Engine) -> None:
    """The other row of the step goes on."""
    good, bad = make_job(utterance="good"), make_job(90, utterance="bad")
    for job in (good, bad):
        choosing.worker.submit(job)
    error = choosing.outcome(bad)
    assert isinstance(error, EngineFailed) and "cursed" in str(error)
    np.testing.assert_array_equal(choosing.outcome(good), fake_audio(good))
    choosing.check_well()


def test_logits_that_are_not_finite_where_they_were_chosen_from(
    choosing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail their sentence, as they do on the host."""
    nothing = [Choice(0, 0, is_finite=False)]
    with monkeypatch.context() as broken:
        broken.setattr(ChoosingFake, "choose", lambda *given: nothing)
        job = make_job()
        choosing.worker.submit(job)
        error = choosing.outcome(job)
    assert isinstance(error, EngineFailed) and "not finite" in str(error)
    choosing.check_well()
