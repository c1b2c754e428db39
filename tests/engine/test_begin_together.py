"""Listeners who begin together: the real worker on virtual cores, with what nano's calls cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from bench.playout import Piece, play
from engine.backends.fake import FakeBackend, FakeScript, fake_voices
from engine.chunking import Chunk, ChunkSchedule
from engine.config import EngineConfig
from engine.job import Job
from engine.messages import Event, Spoken
from engine.model_config import AcousticConfig
from engine.playout import PlayoutClock
from engine.types import FRAMES_PER_TOKEN
from engine.voice_source import VoiceTable
from engine.worker import Worker
from tests.engine.jobs import make_job
from tests.engine.virtual_cores import VirtualCores

# Milliseconds of CPU on one thread, measured on the bundled nano; sampling and the Python around a
# call are in them.
PREFILL_MS = 5.5
TEXT_MS = 1.6
STEP_MS = (2.2, 2.3, 2.8, 3.0, 3.4, 3.7, 4.3, 4.7)  # by rows
# Nano's Chinese sentences begin with 0.44 s of silence, and so do these; 5 s of speech follow.
SCRIPT = FakeScript(tokens_per_phoneme=11, silent_tokens=11)
NANO = AcousticConfig(latent_dim=4, span_back=24, span_ahead=2)  # waits for 7 tokens beyond a chunk
WAY_S = 0.003  # from the engine to the listener
# What is left of two cores for the lanes, beside the server, the listeners and shared caches.
CORES = 1.2


def vocode_ms(chunk: Chunk, start: int) -> float:
    """Return the cost of a chunk that begins at a token: prior, flow, decoder by their lengths."""
    window = len(chunk.tokens) - max(0, start - 50)
    frames = FRAMES_PER_TOKEN * chunk.num_new
    halo, more = (20, 1.2) if start else (0, 0.0)
    return 7.2 + more + 0.11 * window + 0.032 * (frames + 14 + halo) + 0.19 * frames


@dataclass(frozen=True)
class Heard:
    """What one listener got."""

    first_s: float
    gaps: int


class Lanes:
    """A worker whose network calls take the time of virtual cores."""

    def __init__(self, cores: VirtualCores) -> None:
        self.cores = cores
        self.pieces: dict[int, list[Piece]] = {}
        self.calls: list[str] = []
        self.num_over = 0
        backend = FakeBackend(SCRIPT)
        backend.config = replace(backend.config, acoustic=NANO)
        config = EngineConfig(backend="fake", num_slots=8)
        self.worker = Worker(
            backend,
            VoiceTable(fake_voices()),
            config,
            self._hear,
            clock=lambda: cores.now_s,
        )
        self._take(
            _prefill=lambda job: PREFILL_MS,
            _decode=lambda jobs: STEP_MS[len(jobs) - 1],
            _encode_text=lambda job: TEXT_MS,
            _vocode=_cost_of_chunk,
        )
        for step in (self.worker._semantic_step, *2 * [self.worker._acoustic_step]):
            cores.start(step)

    def _take(self, **costs: Callable[..., float]) -> None:
        for name, cost in costs.items():
            real = getattr(self.worker, name)

            def call(*args: Any, name: str = name, real: Any = real, cost: Any = cost) -> Any:
                self.calls.append(name)
                self.cores.work(cost(*args) / 1000)
                return real(*args)

            setattr(self.worker, name, call)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, Spoken)
        chunk = event.chunk
        piece = Piece(self.cores.now_s + WAY_S, len(chunk.samples))
        self.pieces.setdefault(chunk.job_id, []).append(piece)
        self.num_over += chunk.is_final


def _cost_of_chunk(job: Job, chunk: Chunk) -> float:
    return vocode_ms(chunk, job.num_spoken - chunk.num_new)


def listen(num: int, lanes: Lanes | None = None) -> list[Heard]:
    """Begin so many utterances 3 ms after each other and return what their listeners hear."""
    lanes = lanes or Lanes(VirtualCores(CORES))
    begun: dict[int, float] = {}
    for number in range(num):
        job = make_job(utterance=f"u{number}")
        begun[job.job_id] = 0.003 * number
        lanes.cores.at(begun[job.job_id], partial(lanes.worker.submit, job))
        lanes.cores.at(begun[job.job_id], lanes.cores.wake)
    lanes.cores.run(lambda: lanes.num_over == num)
    rate = lanes.worker._backend.acoustic.sample_rate_hz
    heard = []
    for job_id, pieces in lanes.pieces.items():
        first_s = pieces[0].at_s - begun[job_id]
        heard.append(Heard(first_s, play(pieces, rate, 0.1).underruns))
    return heard


def test_eight_who_begin_together_hear_no_gap() -> None:
    """On two cores that are not all theirs; nobody waits much longer than before."""
    heard = listen(8)
    assert [one.gaps for one in heard] == [0] * 8
    assert max(one.first_s for one in heard) < 0.6


def test_the_newcomer_does_not_wait_where_nobody_runs_dry() -> None:
    """Alone, or one of two, an utterance begins as soon as its tokens are there."""
    alone, two = listen(1), listen(2)
    assert alone[0].first_s < 0.1
    assert max(one.first_s for one in two) < 1.5 * alone[0].first_s


def test_the_text_is_encoded_while_the_first_tokens_are_made() -> None:
    """Once, by an idle lane: the first chunk finds it there."""
    lanes = Lanes(VirtualCores(CORES))
    listen(1, lanes)
    assert lanes.calls.count("_encode_text") == 1
    assert lanes.calls.index("_encode_text") < lanes.calls.index("_decode")


def test_they_would_hear_gaps_if_late_newcomers_went_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the playout clock's patience is for."""
    monkeypatch.setattr(PlayoutClock, "deadline_s", lambda clock, now_s: clock.end_s)
    assert sum(one.gaps for one in listen(8)) > 0


def test_they_would_hear_gaps_if_the_third_chunk_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the schedule's two equal chunks are for."""

    def growing(schedule: ChunkSchedule, index: int, sentence: int) -> int:
        del sentence
        return min(schedule.max_tokens, round(schedule.first_tokens * 1.6**index))

    monkeypatch.setattr(ChunkSchedule, "size", growing)
    assert sum(one.gaps for one in listen(8)) > 0
