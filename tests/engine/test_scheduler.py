"""The scheduler's choices, one rule at a time."""

from __future__ import annotations

from dataclasses import replace

from engine.scheduler import Decode, JobView, Phase, Policy, Prefill, Scheduler, StepCosts, Vocode

COSTS = StepCosts(
    prefill_per_position_s=0.001, decode_step_s=0.01, vocode_per_token_s=0.01, vocode_fixed_s=0.01
)
BASE = JobView(
    job_id=0,
    sentence_index=0,
    utterance_id="u0",
    phase=Phase.DECODING,
    deadline_s=10.0,
    tokens_to_chunk=5,
    chunk_tokens=5,
    has_credit=True,
    prefill_size=100,
)


def view(job_id: int, **changes: object) -> JobView:
    """Return a job of an utterance of its own."""
    base = replace(BASE, job_id=job_id, utterance_id=f"u{job_id}")
    return replace(base, **changes)  # type: ignore[arg-type]


def scheduler(**policy: int | float) -> Scheduler:
    """Return a scheduler with known costs."""
    return Scheduler(Policy(**policy), COSTS)  # type: ignore[arg-type]


def test_nothing_to_do_is_none() -> None:
    """No jobs, finished jobs and jobs without credit give no work."""
    idle = [view(1, phase=Phase.DONE), view(2, has_credit=False), view(3, phase=Phase.SPEAKING)]
    assert scheduler().next_semantic([], 0.0) is None
    assert scheduler().next_semantic(idle, 0.0) is None
    assert (
        scheduler().next_acoustic([view(1), view(2, tokens_to_chunk=0, has_credit=False)]) is None
    )


def test_a_new_utterance_goes_before_streams_that_are_ahead() -> None:
    """Prefill comes first when the running stream has seconds to spare."""
    jobs = [view(1, deadline_s=5.0), view(2, phase=Phase.WAITING, deadline_s=0.25)]
    assert scheduler().next_semantic(jobs, 0.0) == Prefill(2)


def test_a_starving_stream_goes_before_a_prefill() -> None:
    """A stream about to run dry decodes first; the new utterance can still wait."""
    jobs = [view(1, deadline_s=0.05), view(2, phase=Phase.WAITING, deadline_s=0.25)]
    assert scheduler().next_semantic(jobs, 0.0) == Decode((1,))


def test_newcomers_who_are_late_share_their_steps() -> None:
    """The one behind is let in where its prefill costs less than the steps it would miss."""
    first = view(1, deadline_s=1.0, tokens_to_chunk=12)
    second = view(2, deadline_s=1.5, tokens_to_chunk=12, phase=Phase.WAITING, prefill_size=50)
    # 12 steps of 10 ms against a prefill of 50 ms, or of 150 ms.
    assert scheduler().next_semantic([first, second], 5.0) == Prefill(2)
    dear = replace(second, prefill_size=150)
    assert scheduler().next_semantic([first, dear], 5.0) == Decode((1,))
    # Three rows that it delays are worth more than the one it helps.
    rows = [replace(first, job_id=n, utterance_id=f"u{n}") for n in (1, 3, 4)]
    assert scheduler().next_semantic([*rows, second], 5.0) == Decode((1, 3, 4))


def test_the_next_sentence_begins_early_where_that_costs_little() -> None:
    """Seconds before it must; a late row or somebody's first sound may wait for it milliseconds."""
    running = view(1, deadline_s=0.9)
    soon = view(2, deadline_s=1.1, phase=Phase.WAITING)
    assert scheduler().next_semantic([running, soon], 0.0) == Prefill(2)
    assert scheduler().next_semantic([running, replace(soon, deadline_s=4.0)], 0.0) == Decode((1,))
    for held in (replace(running, deadline_s=0.05), replace(running, is_silent=True)):
        assert scheduler().next_semantic([held, soon], 0.0) == Decode((1,))
        cheap = replace(soon, prefill_size=10)  # 10 ms
        assert scheduler().next_semantic([held, cheap], 0.0) == Prefill(2)


def test_rows_ride_along_up_to_the_batch() -> None:
    """All decoding jobs share a step, the most urgent first, as many as the batch takes."""
    jobs = [view(n, deadline_s=float(n)) for n in (3, 1, 2)]
    assert scheduler().next_semantic(jobs, 0.0) == Decode((1, 2, 3))
    assert scheduler(max_batch=2).next_semantic(jobs, 0.0) == Decode((1, 2))


def test_no_slot_no_prefill() -> None:
    """With all slots taken a new utterance waits and the rows go on."""
    jobs = [view(1), view(2), view(3, phase=Phase.WAITING, deadline_s=0.0)]
    assert scheduler(num_slots=2, reserved_slots=0).next_semantic(jobs, 0.0) == Decode((1, 2))


def test_rows_whose_listeners_can_wait_give_their_slots_up() -> None:
    """While somebody waits for a slot they are decoded to their end; otherwise they stand still."""
    stalled = [view(1, has_credit=False), view(2, has_credit=False)]
    newcomer = view(3, phase=Phase.WAITING, deadline_s=0.25)
    small = scheduler(num_slots=2, reserved_slots=0)
    assert small.next_semantic(stalled, 0.0) is None
    assert small.next_semantic([*stalled, newcomer], 0.0) == Decode((1, 2))
    running = view(4, deadline_s=0.1)
    assert small.next_semantic([stalled[0], running, newcomer], 0.0) == Decode((4, 1))
    # Somebody who wants no audio himself is no reason, nor a sentence that is only prefetched.
    for idle in (replace(newcomer, has_credit=False), replace(newcomer, deadline_s=100.0)):
        assert small.next_semantic([*stalled, idle], 0.0) is None
    follower = replace(newcomer, utterance_id="u1", sentence_index=1)
    assert small.next_semantic([*stalled, follower], 0.0) is None


def test_the_last_slots_are_kept_for_utterances_that_are_silent() -> None:
    """A prefetched sentence does not take a reserved slot; the head of an utterance does."""
    head = view(1, deadline_s=9.0)
    follower = view(2, utterance_id="u1", sentence_index=1, phase=Phase.WAITING, deadline_s=9.5)
    other = view(3, phase=Phase.WAITING, deadline_s=9.6)
    small = scheduler(num_slots=3, reserved_slots=2)
    assert small.next_semantic([head, follower], 0.0) == Decode((1,))
    assert small.next_semantic([head, follower, other], 8.0) == Decode((1,))
    assert small.next_semantic([replace(head, deadline_s=20.0), follower, other], 8.0) == Prefill(3)


def test_sentences_far_ahead_are_not_started() -> None:
    """A sentence due after the prefetch horizon waits even on an idle engine."""
    far = view(1, phase=Phase.WAITING, deadline_s=100.0)
    assert scheduler().next_semantic([far], 0.0) is None
    assert scheduler().next_semantic([far], 80.0) == Prefill(1)


def test_the_most_urgent_chunk_is_vocoded_first() -> None:
    """Least slack first, counting the chunk's own cost."""
    jobs = [
        view(1, tokens_to_chunk=0, deadline_s=2.0),
        view(2, tokens_to_chunk=0, deadline_s=2.2, chunk_tokens=50),
        view(3, tokens_to_chunk=1, deadline_s=0.0),
    ]
    assert scheduler().next_acoustic(jobs) == Vocode(2)


def test_audio_of_an_utterance_is_made_in_order() -> None:
    """A sentence that is ready waits for the one before it, which may need all the credit."""
    first = view(4, utterance_id="u")
    second = view(5, utterance_id="u", sentence_index=1, tokens_to_chunk=0, deadline_s=0.0)
    assert scheduler().next_acoustic([first, second]) is None
    ready = replace(first, tokens_to_chunk=0)
    assert scheduler().next_acoustic([ready, second]) == Vocode(4)
    assert scheduler().next_acoustic([replace(ready, phase=Phase.DONE), second]) == Vocode(5)
