"""What the engine does next. Pure: no clock, no networks; tested by simulation.

Two lanes work side by side, one per core or stream of the device: the *semantic* lane (prefill and
decode steps) and the *acoustic* lane (vocoder steps). Each asks for its next piece of work.

The rule is least slack first. A job's deadline is the moment its listener runs out of audio
(`engine.playout`), its slack the deadline less the work still needed until its next chunk. So a
new utterance goes before streams that are seconds ahead, a stream about to run dry goes before a
new utterance, late or not, and nobody waits for ever: a second late, slack only shrinks.

A prefill stops all rows while it runs, but a job that is held back until more urgent rows have
their chunks loses the steps it could have shared with them. So it goes first also where that costs
less lateness than it saves, and seconds before it must where it costs hardly any. By least slack
alone newcomers who are late begin one behind the other, sharing no steps, and an engine that was
late for a moment stays it: 200 simulated sessions at 4 ms a prefill and 3 ms a step waited 716 ms
for their first sound, now 63, and ran dry 0.8 times an utterance, now never
(tests/bench/test_scheduler.py). Holding prefills back until no running stream becomes late by them
was tried too (0.1 and 0.3 s of prefill, 8 to 48 sessions): listeners start later, beyond capacity
by seconds, and few settings gain by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

_WORTH_OF_COMFORT = 0.01  # seconds of others' lateness for each that a sentence begins earlier
_SHARE_OF_ARRIVALS = 0.2  # of prefills, that a newcomer is taken to come into


class Phase(Enum):
    """Where a job is."""

    WAITING = auto()  # no slot, nothing computed
    DECODING = auto()  # has a slot, tokens are being made
    SPEAKING = auto()  # all tokens known, some not vocoded
    DONE = auto()


@dataclass(frozen=True, slots=True)
class JobView:
    """What the scheduler may know of a job."""

    job_id: int
    sentence_index: int
    utterance_id: str
    phase: Phase
    deadline_s: float  # when the listener runs out of audio without this job's next chunk
    tokens_to_chunk: int  # decode steps until the next chunk can be vocoded; 0: it can be now
    chunk_tokens: int  # size of that chunk
    has_credit: bool  # False: the listener does not want more audio yet
    prefill_size: int  # phonemes + prompt tokens
    is_silent: bool = False  # its utterance's first sound is waited for: every moment counts


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Measured or assumed seconds, used to weigh slack."""

    prefill_per_position_s: float = 0.0008
    decode_step_s: float = 0.010
    vocode_per_token_s: float = 0.012
    vocode_fixed_s: float = 0.010


@dataclass(frozen=True, slots=True)
class Policy:
    """The knobs of the scheduler."""

    num_slots: int = 16
    max_batch: int = 16
    reserved_slots: int = 2  # kept free of sentences that are only prefetched
    prefetch_lead_s: float = 30.0  # no sentence is started further ahead of playout than this
    comfort_s: float = 3.0  # a sentence is begun so long before it must, where that costs little


@dataclass(frozen=True, slots=True)
class Prefill:
    """Give this job a slot and compute its first logits."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Decode:
    """Make one token for each of these jobs."""

    job_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vocode:
    """Turn this job's next chunk of tokens into audio."""

    job_id: int


class Scheduler:
    """Chooses the next piece of work for each lane from a snapshot of the jobs."""

    def __init__(self, policy: Policy, costs: StepCosts) -> None:
        self._policy = policy
        self.costs = costs  # replaced by the worker as it measures
        self.num_slots = policy.num_slots
        self.reserved_slots = policy.reserved_slots

    def next_semantic(self, jobs: Iterable[JobView], now_s: float) -> Prefill | Decode | None:
        """Return the semantic lane's next work, or None to wait for a change."""
        live = [job for job in jobs if job.phase is not Phase.DONE]
        rows = [job for job in live if job.phase is Phase.DECODING]
        free = self._policy.num_slots - len(rows)
        waiting = self._most_urgent_waiting(live, free, now_s)
        running = [job for job in rows if job.has_credit]
        if waiting is not None and free <= 0:
            # A row whose listener wants no more for now would keep its slot until he does. Its
            # sentence's tokens, a few bytes each, are made to the end instead: audio is not.
            running = rows
        elif waiting is not None:
            if not self._is_held_back(waiting, running, now_s):
                return Prefill(waiting.job_id)
        if not running:
            return None
        running.sort(key=self._slack)
        # Rows ride along for almost nothing: a step reads all weights whatever the batch.
        return Decode(tuple(job.job_id for job in running[: self._policy.max_batch]))

    def next_acoustic(self, jobs: Iterable[JobView]) -> Vocode | None:
        """Return the acoustic lane's next work, or None to wait for a change.

        Audio of an utterance is made in the order it is heard: a short sentence that is ready
        early would use up the credit the one before it needs, and both would wait for ever.
        """
        live = [job for job in jobs if job.phase is not Phase.DONE]
        heads = _heads(live)
        ready = [
            job
            for job in live
            if job.phase is not Phase.WAITING
            and job.tokens_to_chunk == 0
            and job.has_credit
            and job.sentence_index == heads[job.utterance_id]
        ]
        if not ready:
            return None
        return Vocode(min(ready, key=self._slack).job_id)

    def _most_urgent_waiting(
        self, live: Sequence[JobView], free: int, now_s: float
    ) -> JobView | None:
        """Return the job that should have the next slot; the last ones are for silent listeners."""
        horizon = now_s + self._policy.prefetch_lead_s
        waiting = [
            job
            for job in live
            if job.phase is Phase.WAITING and job.has_credit and job.deadline_s <= horizon
        ]
        if free <= self._policy.reserved_slots:
            heads = _heads(live)
            waiting = [job for job in waiting if heads[job.utterance_id] == job.sentence_index]
        return min(waiting, key=self._slack, default=None)

    def _is_held_back(self, waiting: JobView, rows: Sequence[JobView], now_s: float) -> bool:
        """Return True if a prefill comes after the chunks of the rows that are more urgent."""
        key = self._slack(waiting)
        keys = [self._slack(row) for row in rows]
        steps = [row.tokens_to_chunk for row, its in zip(rows, keys, strict=True) if its < key]
        if not steps:
            return False
        prefill_s = waiting.prefill_size * self.costs.prefill_per_position_s
        spare_s = [_spare_s(row, its[0], now_s) for row, its in zip(rows, keys, strict=True)]
        # Seconds of lateness: what it saves this listener, and what it costs the others together.
        waits_s = _spare_s(waiting, key[0], now_s)
        saved_s = max(steps) * self.costs.decode_step_s - waits_s
        cost_s = sum(max(0.0, prefill_s - spare) for spare in spare_s)
        if saved_s > cost_s:
            return False
        # A stream near its end is in danger before it is late. Somebody may come meanwhile.
        early_s = _WORTH_OF_COMFORT * (self._policy.comfort_s - waits_s)
        return early_s <= max(cost_s, _SHARE_OF_ARRIVALS * prefill_s)

    def _slack(self, job: JobView) -> tuple[float, int, int]:
        """Return the sort key of urgency: latest start, then order within the utterance."""
        costs = self.costs
        work = costs.vocode_fixed_s + job.chunk_tokens * costs.vocode_per_token_s
        work += job.tokens_to_chunk * costs.decode_step_s
        if job.phase is Phase.WAITING:
            work += job.prefill_size * costs.prefill_per_position_s
        return (job.deadline_s - work, job.sentence_index, job.job_id)


def _spare_s(job: JobView, slack_s: float, now_s: float) -> float:
    """Return how long a job may be delayed before its listener hears it."""
    return 0.0 if job.is_silent else max(0.0, slack_s - now_s)


def _heads(live: Iterable[JobView]) -> dict[str, int]:
    """Return each utterance's earliest unfinished sentence: the one that is being heard."""
    heads: dict[str, int] = {}
    for job in live:
        index = heads.get(job.utterance_id, job.sentence_index)
        heads[job.utterance_id] = min(index, job.sentence_index)
    return heads
