"""Simulate many sessions on the real scheduler with measured step costs.

No network runs: a virtual clock moves both lanes from one step to the next, so 64 sessions for ten
minutes take seconds, and the result depends on the policy and the costs alone.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from bench import plots
from bench.environment import write_json
from engine.chunking import ChunkSchedule
from engine.playout import PlayoutClock
from engine.scheduler import Decode, JobView, Phase, Policy, Prefill, Scheduler, StepCosts
from engine.types import TOKEN_HZ

_Begun = tuple[float, Callable[[], None]]  # how long the step takes, and what its end does


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of each kind of step; `decode_s[B - 1]` for B rows, the last one per further row."""

    prefill_s: float = 0.10
    decode_s: tuple[float, ...] = (0.010, 0.011, 0.012, 0.013, 0.015, 0.016, 0.018, 0.019)
    vocode_fixed_s: float = 0.02
    vocode_per_token_s: float = 0.011

    def decode(self, rows: int) -> float:
        """Return the seconds of a step of `rows`."""
        known = len(self.decode_s)
        if rows <= known:
            return self.decode_s[rows - 1]
        slope = (self.decode_s[-1] - self.decode_s[0]) / max(1, known - 1)
        return self.decode_s[-1] + slope * (rows - known)


@dataclass(frozen=True, slots=True)
class Load:
    """Sessions that speak one utterance after another, with pauses between."""

    sessions: int = 64
    duration_s: float = 300.0
    sentences: int = 2  # of an utterance
    tokens: int = 75  # of a sentence: 3 s
    gap_s: float = 12.0  # mean silence between a session's utterances, exponential
    lookahead_tokens: int = 8
    credit_s: float = 4.0  # audio a session lets the engine make ahead of playout
    seed: int = 1


@dataclass(slots=True)
class _Job:
    view: JobView
    clock: PlayoutClock
    arrived_s: float
    tokens: int
    made: int = 0
    spoken: int = 0
    chunks: int = 0
    vocoding: bool = False
    phase: Phase = Phase.WAITING


@dataclass(slots=True)
class Outcome:
    """What the listeners got."""

    first_audio_s: list[float] = field(default_factory=list)  # by utterance
    underruns: int = 0
    utterances: int = 0
    audio_s: float = 0.0
    semantic_busy: float = 0.0  # share of the lane's time
    acoustic_busy: float = 0.0


class Simulation:
    """One run. The lanes are two servers that take the scheduler's next work when they are free."""

    def __init__(self, load: Load, costs: Costs, policy: Policy) -> None:
        self._load = load
        self._costs = costs
        self._schedule = ChunkSchedule()
        self._scheduler = Scheduler(
            policy,
            StepCosts(
                prefill_per_position_s=costs.prefill_s / 150,
                decode_step_s=costs.decode(8),
                vocode_per_token_s=costs.vocode_per_token_s,
                vocode_fixed_s=costs.vocode_fixed_s,
            ),
        )
        self._dice = np.random.default_rng(load.seed)
        self._jobs: dict[int, _Job] = {}
        self._outcome = Outcome()
        self._now = 0.0
        self._next_id = 0

    def run(self) -> Outcome:
        """Play the load to its end."""
        load = self._load
        arrivals = [
            (float(at), session)
            for session in range(load.sessions)
            for at in [self._dice.exponential(load.gap_s)]
        ]
        heapq.heapify(arrivals)
        events: list[tuple[float, int, str, Callable[[], None]]] = []  # ends of steps
        free = {"semantic": True, "acoustic": True}
        counter = 0
        while self._now < load.duration_s:
            while arrivals and arrivals[0][0] <= self._now:
                at, session = heapq.heappop(arrivals)
                speech_s = self._arrive(at)
                again = at + speech_s + float(self._dice.exponential(load.gap_s))
                heapq.heappush(arrivals, (again, session))
            for lane, start in (("semantic", self._semantic), ("acoustic", self._acoustic)):
                if free[lane] and (begun := start()) is not None:
                    seconds, finish = begun
                    counter += 1
                    heapq.heappush(events, (self._now + seconds, counter, lane, finish))
                    free[lane] = False
                    if lane == "semantic":
                        self._outcome.semantic_busy += seconds / load.duration_s
                    else:
                        self._outcome.acoustic_busy += seconds / load.duration_s
            upcoming = [events[0][0]] if events else [self._now + 0.02]  # credit grows with time
            if arrivals:
                upcoming.append(arrivals[0][0])
            self._now = max(self._now, min(upcoming))
            while events and events[0][0] <= self._now:
                _, _, lane, finish = heapq.heappop(events)
                finish()
                free[lane] = True
        return self._outcome

    def _arrive(self, at_s: float) -> float:
        """Add an utterance and return how long its speech is."""
        load = self._load
        clock = PlayoutClock(at_s, first_audio_s=0.25)
        self._outcome.utterances += 1
        total = 0.0
        for index in range(load.sentences):
            tokens = int(self._dice.integers(load.tokens // 2, load.tokens * 3 // 2))
            self._next_id += 1
            view = JobView(
                self._next_id, index, f"u{self._outcome.utterances}", Phase.WAITING, 0.0, 0, 0,
                True, 150,
            )  # fmt: skip
            self._jobs[self._next_id] = _Job(view, clock, at_s, tokens)
            total += tokens / TOKEN_HZ
        return total

    def _views(self) -> list[JobView]:
        ahead: dict[str, float] = {}
        views = []
        for job in self._jobs.values():
            rest = ahead.get(job.view.utterance_id, 0.0)
            wanted = self._schedule.size(job.chunks, job.view.sentence_index)
            left = job.made - job.spoken
            if job.phase is Phase.SPEAKING:
                wanted, missing = min(wanted, left), 0
            else:
                missing = max(0, wanted + self._load.lookahead_tokens - left)
            views.append(
                JobView(
                    job.view.job_id,
                    job.view.sentence_index,
                    job.view.utterance_id,
                    job.phase,
                    job.clock.deadline_s(self._now) + rest,
                    missing,
                    wanted,
                    job.clock.lead_s(self._now) < self._load.credit_s,
                    150,
                    job.clock.produced_s == 0.0 and job.view.utterance_id not in ahead,
                )  # fmt: skip
            )
            ahead[job.view.utterance_id] = rest + (job.tokens - job.spoken) / TOKEN_HZ
        return views

    def _semantic(self) -> _Begun | None:
        work = self._scheduler.next_semantic(self._views(), self._now)
        if work is None:
            return None
        if isinstance(work, Prefill):
            job = self._jobs[work.job_id]
            job.phase = Phase.DECODING
            return self._costs.prefill_s, lambda: self._made([job])
        assert isinstance(work, Decode)
        jobs = [self._jobs[job_id] for job_id in work.job_ids]
        return self._costs.decode(len(jobs)), lambda: self._made(jobs)

    def _made(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            job.made += 1
            if job.made == job.tokens:
                job.phase = Phase.SPEAKING

    def _acoustic(self) -> _Begun | None:
        idle = (view for view in self._views() if not self._jobs[view.job_id].vocoding)
        work = self._scheduler.next_acoustic(idle)
        if work is None:
            return None
        job = self._jobs[work.job_id]
        wanted = self._schedule.size(job.chunks, job.view.sentence_index)
        count = min(wanted, job.made - job.spoken)
        job.vocoding = True
        seconds = self._costs.vocode_fixed_s + count * self._costs.vocode_per_token_s
        return seconds, lambda: self._spoke(job, count)

    def _spoke(self, job: _Job, count: int) -> None:
        job.vocoding = False
        if job.clock.produced_s == 0:
            self._outcome.first_audio_s.append(self._now - job.arrived_s)
        before = job.clock.num_underruns
        job.clock.produce(count / TOKEN_HZ, self._now)
        self._outcome.underruns += job.clock.num_underruns - before
        self._outcome.audio_s += count / TOKEN_HZ
        job.spoken += count
        job.chunks += 1
        if job.spoken == job.tokens:
            del self._jobs[job.view.job_id]


def simulate(load: Load, costs: Costs, policy: Policy | None = None) -> Outcome:
    """Run one simulation."""
    return Simulation(load, costs, policy or Policy()).run()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--duration", type=float, default=300.0, metavar="S")
    parser.add_argument(
        "--costs", type=Path, help="JSON of `bench engine`, whose measured steps are used"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="write a plot here (SVG)")


def run(args: argparse.Namespace) -> int:
    """Print one row per number of sessions."""
    costs = Costs()
    if args.costs:
        stored = json.loads(args.costs.read_text(encoding="utf-8"))["costs"]
        stored["decode_s"] = tuple(stored["decode_s"])
        costs = Costs(**stored)
    rows = []
    print("sessions  first audio p50/p95   underruns/utterance   lanes busy (tokens, audio)")
    for sessions in args.sessions:
        outcome = simulate(Load(sessions=sessions, duration_s=args.duration), costs)
        p50, p95 = np.percentile(outcome.first_audio_s, [50, 95])
        rate = outcome.underruns / max(1, outcome.utterances)
        rows.append(
            {
                "sessions": sessions,
                "first_audio_p50_s": float(p50),
                "first_audio_p95_s": float(p95),
                "underruns_per_utterance": rate,
                "utterances": outcome.utterances,
                "semantic_busy": outcome.semantic_busy,
                "acoustic_busy": outcome.acoustic_busy,
            }
        )
        print(
            f"{sessions:8d}  {p50 * 1e3:7.0f} /{p95 * 1e3:7.0f} ms  {rate:15.3f}   "
            f"{outcome.semantic_busy:12.0%}, {outcome.acoustic_busy:.0%}"
        )
    if args.json:
        write_json(args.json, {"costs": asdict(costs), "rows": rows})
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        args.plot.write_text(plot(rows) + "\n", encoding="utf-8")
    return 0


def plot(rows: Sequence[Mapping[str, float]]) -> str:
    """Return first audio over sessions as SVG."""
    series = {
        name: [(row["sessions"], 1e3 * row[f"first_audio_{name}_s"]) for row in rows]
        for name in ("p50", "p95")
    }
    return plots.lines(series, "sessions", "first audio, ms")
