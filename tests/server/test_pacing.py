"""Pacer under a virtual clock: the window, acknowledgements, underruns, stalls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.pacing import ACK_VALID_S, UNLIMITED_LEAD_S, Pacer

PACKET_S = 0.02


def fill(pacer: Pacer, now_s: float) -> int:
    """Send packets until the window is shut; return how many."""
    count = 0
    while pacer.wait_s(now_s) == 0:
        pacer.sent(PACKET_S, now_s)
        count += 1
        assert count < 10_000
    return count


def test_window_opens_for_exactly_the_lead() -> None:
    """At the start lead_s of audio may leave at once, no packet more."""
    pacer = Pacer(0.4)
    assert pacer.lead_s(5.0) == 0 and pacer.wait_s(5.0) == 0
    assert fill(pacer, 5.0) == 20
    assert pacer.lead_s(5.0) == pytest.approx(0.4)
    assert pacer.wait_s(5.0) == pytest.approx(PACKET_S)


def test_without_acknowledgements_the_clock_plays() -> None:
    """From the first packet on, a packet may leave every 20 ms."""
    pacer = Pacer(0.4)
    fill(pacer, 5.0)
    for i in range(1, 100):
        now = 5.0 + i * PACKET_S + 1e-6
        assert fill(pacer, now) == 1
        assert pacer.played_s(now) == pytest.approx(i * PACKET_S, abs=1e-5)


def test_zero_lead_is_unlimited_but_not_endless() -> None:
    """As fast as it is made, up to a minute."""
    pacer = Pacer(0.0)
    assert pacer.max_lead_s == UNLIMITED_LEAD_S
    assert fill(pacer, 0.0) == 3000


def test_lead_smaller_than_a_packet_still_moves() -> None:
    """When everything has been played one packet may always be sent."""
    pacer = Pacer(0.01)
    assert fill(pacer, 0.0) == 1
    assert pacer.wait_s(0.0) == pytest.approx(PACKET_S)
    assert fill(pacer, PACKET_S) == 1


def test_running_dry_stops_the_clock_and_is_counted() -> None:
    """A listener who has played everything waits; what comes later is an underrun."""
    pacer = Pacer(1.0)
    pacer.sent(0.1, 0.0)
    assert pacer.played_s(9.0) == pytest.approx(0.1)
    assert pacer.num_underruns == 0
    pacer.sent(0.1, 9.0)
    assert pacer.num_underruns == 1
    assert pacer.played_s(9.05) == pytest.approx(0.15)
    pacer.sent(0.1, 9.05)
    assert pacer.num_underruns == 1


def test_acknowledgements_replace_the_clock() -> None:
    """A client that plays later than assumed gets less; one that is ahead gets more."""
    pacer = Pacer(0.4)
    fill(pacer, 0.0)
    pacer.acked(0.1, 0.3)
    assert pacer.played_s(0.3) == pytest.approx(0.1)
    assert fill(pacer, 0.3) == 5
    pacer.acked(0.4, 0.35)
    assert pacer.played_s(0.35) == pytest.approx(0.4)


def test_position_runs_on_between_acknowledgements() -> None:
    """Every 500 ms is often enough, even for a lead of 400 ms."""
    pacer = Pacer(0.4)
    fill(pacer, 0.0)
    num_dry = 0
    for i in range(1, 200):
        now = i * 0.02
        if i % 25 == 0:
            pacer.acked(now, now)
        fill(pacer, now)
        num_dry += pacer.lead_s(now) < 0.3
    assert num_dry == 0


def test_acknowledgement_never_goes_back_or_past_what_was_sent() -> None:
    """Wrong positions from a client are bounded."""
    pacer = Pacer(1.0)
    pacer.sent(0.5, 0.0)
    pacer.acked(9.0, 0.1)
    assert pacer.played_s(0.1) == pytest.approx(0.5)
    pacer.acked(0.2, 0.2)
    assert pacer.played_s(0.2) == pytest.approx(0.5)


def test_client_that_stops_acknowledging_is_given_no_more_and_stalls() -> None:
    """After half a second without a word the window stays shut, and the time is counted."""
    pacer = Pacer(0.4)
    fill(pacer, 0.0)
    pacer.acked(0.1, 0.1)
    fill(pacer, 0.1)
    fill(pacer, 0.1 + ACK_VALID_S)
    assert pacer.wait_s(0.7) == math.inf
    assert pacer.stalled_s(0.6) == 0
    assert pacer.stalled_s(10.6) == pytest.approx(10.0)
    pacer.acked(0.9, 10.6)
    assert pacer.stalled_s(10.6) == 0
    assert pacer.wait_s(10.6) == 0


def test_shut_window_is_no_stall_while_it_will_open() -> None:
    """Neither a context without acknowledgements nor one just acknowledged stalls."""
    pacer = Pacer(0.4)
    fill(pacer, 0.0)
    assert pacer.stalled_s(0.01) == 0
    pacer.acked(0.0, 0.02)
    assert pacer.stalled_s(0.03) == 0


def test_clock_that_jumps_back_does_no_harm() -> None:
    """Playback does not run backwards."""
    pacer = Pacer(0.4)
    pacer.sent(0.1, 100.0)
    assert pacer.played_s(99.0) == 0
    assert pacer.lead_s(99.0) == pytest.approx(0.1)


@given(
    lead_s=st.floats(0.02, 5.0),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.booleans(), st.floats(0, 1)), max_size=60),
)
def test_lead_is_never_exceeded(lead_s: float, steps: list[tuple[float, bool, float]]) -> None:
    """Whatever the clock and the client do, no more than the lead is ahead of playback."""
    pacer, now = Pacer(lead_s), 0.0
    for wait_s, is_ack, fraction in steps:
        now += wait_s
        if is_ack:
            pacer.acked(pacer.played_s(now) + fraction, now)
        fill(pacer, now)
        assert pacer.lead_s(now) <= max(lead_s, PACKET_S) + 1e-6
        wait = pacer.wait_s(now)
        assert wait > 0
        if math.isfinite(wait):
            assert pacer.wait_s(now + wait + 1e-9) == 0
