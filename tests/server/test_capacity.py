"""How many listeners the engine can feed, concluded from its counters."""

from __future__ import annotations

from engine.client import EngineStats
from server.capacity import Capacity

SLOTS = 8


def stats(
    audio_s: float,
    *,
    acoustic_s: float,
    steps: dict[int, tuple[int, float]],
    prefill_s: float = 0.0,
) -> EngineStats:
    """Return counters: `steps` holds the number and the time of one step, by batch size."""
    step_s = {size: count * seconds for size, (count, seconds) in steps.items()}
    return EngineStats(
        tokens=sum(size * count for size, (count, _) in steps.items()),
        audio_s=audio_s,
        busy_s=acoustic_s + prefill_s + sum(step_s.values()),
        acoustic_busy_s=acoustic_s,
        steps_by_batch={size: count for size, (count, _) in steps.items()},
        step_s_by_batch=step_s,
    )


def streams(*observed: EngineStats) -> int | None:
    """Return what is concluded."""
    capacity = Capacity()
    for one in observed:
        capacity.observe(one, SLOTS)
    return capacity.streams


def test_nothing_is_known_before_there_was_work() -> None:
    """Nor from a few seconds of audio."""
    assert streams(EngineStats()) is None
    assert streams(stats(9.0, acoustic_s=100.0, steps={1: (225, 0.1)})) is None


def test_the_acoustic_lane_sets_the_limit() -> None:
    """0.25 s of it for a second of audio: three listeners within 0.9 of its time."""
    assert streams(stats(20.0, acoustic_s=5.0, steps={1: (500, 0.001)})) == 3


def test_the_semantic_lane_sets_the_limit_by_its_largest_known_batch() -> None:
    """25 steps of 20 ms a second and no growth seen: eight rows fit, sixteen take two rounds."""
    assert streams(stats(20.0, acoustic_s=0.2, steps={1: (500, 0.02)})) == 14


def test_a_batch_that_was_measured_counts_for_itself() -> None:
    """Rows that cost as much as the first one: the step of four does not fit into 40 ms."""
    seen = stats(40.0, acoustic_s=0.4, steps={1: (200, 0.01), 2: (200, 0.02), 4: (100, 0.04)})
    assert streams(seen) == 3


def test_prefills_take_their_part() -> None:
    """A prefill of 0.1 s for every second of audio, beside steps of 10 ms."""
    seen = stats(20.0, acoustic_s=0.2, steps={1: (500, 0.01)}, prefill_s=2.0)
    assert streams(seen) == 6  # 25 x 10 ms, and 6 x 0.1 s; with seven 0.95


def test_a_machine_that_cannot_feed_one_refuses_nobody() -> None:
    """It is late for the first listener with and without the others."""
    assert streams(stats(20.0, acoustic_s=30.0, steps={1: (500, 0.01)})) is None


def test_what_was_long_ago_fades() -> None:
    """A machine that is its own again is believed after some minutes of audio."""
    slow = stats(60.0, acoustic_s=30.0, steps={1: (1500, 0.001)})
    quick = stats(660.0, acoustic_s=30.0 + 60.0, steps={1: (16_500, 0.001)})
    assert streams(slow) == 1
    assert streams(slow, quick) in (8, 9)  # 0.1 s a second alone would be 9


def test_an_engine_that_was_started_again_counts_from_nothing() -> None:
    """Counters that fell are new ones, not negative work."""
    before = stats(100.0, acoustic_s=25.0, steps={1: (2500, 0.001)})
    after = stats(20.0, acoustic_s=5.0, steps={1: (500, 0.001)})
    assert streams(before, after) == 3
