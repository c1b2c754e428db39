"""The open sentences, by number and by utterance, and what the scheduler is shown of them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterator

from engine.job import Job
from engine.scheduler import JobView, Phase

_NEEDS_STEPS = (Phase.WAITING, Phase.DECODING)


class JobTable:
    """See the module docstring. Both lanes look here before each step, so looking is cheap."""

    def __init__(self) -> None:
        self._by_id: dict[int, Job] = {}
        self._by_utterance: dict[str, list[Job]] = {}  # each in the order it is heard

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._by_id.values())

    def __getitem__(self, job_id: int) -> Job:
        return self._by_id[job_id]

    def get(self, job_id: int) -> Job | None:
        """Return a job; None if it is over."""
        return self._by_id.get(job_id)

    def add(self, job: Job) -> None:
        """Take a job in."""
        self._by_id[job.job.job_id] = job
        jobs = self._by_utterance.setdefault(job.job.utterance_id, [])
        insort(jobs, job, key=lambda other: other.job.sentence_index)

    def remove(self, job: Job) -> None:
        """Forget a job; one that is not here is none."""
        if self._by_id.pop(job.job.job_id, None) is None:
            return
        jobs = self._by_utterance[job.job.utterance_id]
        jobs.remove(job)
        if not jobs:
            del self._by_utterance[job.job.utterance_id]

    def for_semantic(self, now_s: float, *, are_slots_short: bool) -> list[JobView]:
        """Describe what the semantic lane may choose from.

        Args:
            are_slots_short: Then everybody who holds a slot or stands before another matters;
                else only those who want something now, a few of hundreds.
        """
        views: list[JobView] = []
        for jobs in self._by_utterance.values():
            if not (are_slots_short or jobs[0].clock.has_credit):
                continue
            # When the listener runs dry without the next chunk of the sentence at hand.
            runs_dry_s = jobs[0].clock.deadline_s(now_s)
            for job in jobs:
                if are_slots_short or job.phase in _NEEDS_STEPS:
                    views.append(job.view(runs_dry_s, is_head=job is jobs[0]))
                runs_dry_s += job.expected_rest_s
        return views

    def for_acoustic(self, now_s: float, busy: Container[str]) -> list[JobView]:
        """Describe what an acoustic lane may choose from: each utterance's earliest sentence.

        Args:
            busy: Utterances that another lane works for: their order stays.
        """
        heads = ((utterance, jobs[0]) for utterance, jobs in self._by_utterance.items())
        return [
            head.view(head.clock.deadline_s(now_s))
            for utterance, head in heads
            if head.chunks and head.clock.has_credit and utterance not in busy
        ]
