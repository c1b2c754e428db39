"""The scheduler under load, on simulated time: nobody starves."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scheduler import Costs, Load, Outcome, Simulation
from engine.scheduler import Policy

# Of a small GPU, or nano on eight cores: 64 listeners are within reach.
COSTS = Costs(
    prefill_s=0.012,
    decode_s=tuple(0.003 + 0.0001 * rows for rows in range(1, 17)),
    vocode_fixed_s=0.002,
    vocode_per_token_s=0.0004,
)


def play(slower: float = 1.0, **load: float) -> Outcome:
    """Play 64 sessions with Poisson arrivals for 20 seconds."""
    costs = Costs(
        prefill_s=COSTS.prefill_s * slower,
        decode_s=tuple(seconds * slower for seconds in COSTS.decode_s),
        vocode_fixed_s=COSTS.vocode_fixed_s * slower,
        vocode_per_token_s=COSTS.vocode_per_token_s * slower,
    )
    settings = Load(sessions=64, duration_s=20.0, **load)  # type: ignore[arg-type]
    return Simulation(settings, costs, Policy(num_slots=16, max_batch=16)).run()


def test_sixty_four_sessions_are_served_in_time() -> None:
    """No stream runs dry and nobody waits long for the first sound, though lanes are busy."""
    outcome = play()
    assert outcome.utterances > 50
    assert outcome.underruns == 0
    assert np.percentile(outcome.first_audio_s, 95) < 0.35
    assert outcome.semantic_busy > 0.3


def test_too_slow_an_engine_is_seen() -> None:
    """The figures above can fail: at a quarter of the speed they do."""
    outcome = play(slower=4.0)
    assert outcome.underruns > 0
    assert np.percentile(outcome.first_audio_s, 95) > 0.35


def test_newcomers_do_not_wait_for_streams_that_are_ahead() -> None:
    """The slowest start stays within some times the median, whatever the others have in hand."""
    outcome = play(slower=1.5, credit_s=20.0, gap_s=6.0)
    worst, median = max(outcome.first_audio_s), float(np.median(outcome.first_audio_s))
    assert worst < 6 * median


def test_more_listeners_than_slots_are_no_queue() -> None:
    """Sentences of 10 s that are heard at their pace hold no slot for 10 s."""
    load = Load(sessions=64, duration_s=20.0, tokens=250, sentences=1, credit_s=2.0)
    outcome = Simulation(load, COSTS, Policy(num_slots=8, max_batch=8)).run()
    assert len(outcome.first_audio_s) > 50
    assert max(outcome.first_audio_s) < 2.0


@pytest.mark.slow
def test_an_engine_that_was_late_for_a_moment_catches_up() -> None:
    """Late newcomers are decoded together: one behind the other they waited 0.7 s (median)."""
    costs = Costs(
        prefill_s=0.004,
        decode_s=tuple(0.003 + 0.00005 * rows for rows in range(1, 9)),
        vocode_fixed_s=0.001,
        vocode_per_token_s=0.0001,
    )
    load = Load(sessions=200, duration_s=10.0, gap_s=3.0, tokens=100, credit_s=3.0)
    outcome = Simulation(load, costs, Policy(num_slots=256, max_batch=256)).run()
    assert np.median(outcome.first_audio_s) < 0.15
    assert outcome.underruns < 0.1 * outcome.utterances
