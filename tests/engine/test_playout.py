"""The listener's clock."""

from __future__ import annotations

import pytest

from engine.playout import PlayoutClock


def test_a_silent_utterance_is_due_soon_after_it_arrived() -> None:
    """Before the first chunk the deadline is arrival plus the wish, and there is no lead."""
    clock = PlayoutClock(10.0, first_audio_s=0.25)
    assert clock.end_s == 10.25
    assert clock.lead_s(10.1) == 0.0


def test_who_has_heard_nothing_is_patient_for_a_while() -> None:
    """Once late, the deadline stays ahead of the clock; soon that is over."""
    clock = PlayoutClock(10.0, first_audio_s=0.25)
    assert clock.deadline_s(10.0) == clock.deadline_s(10.05) == 10.25
    assert clock.deadline_s(10.4) == pytest.approx(10.55)
    assert clock.deadline_s(12.0) == clock.deadline_s(20.0) == 10.6
    clock.produce(0.2, now_s=20.0)
    assert clock.deadline_s(20.1) == clock.end_s == pytest.approx(20.2)


def test_lead_grows_with_audio_and_shrinks_with_time() -> None:
    """Playback starts with the first chunk."""
    clock = PlayoutClock(0.0, first_audio_s=0.25)
    clock.produce(1.0, now_s=0.2)
    clock.produce(1.0, now_s=0.5)
    assert clock.end_s == pytest.approx(2.2)
    assert clock.lead_s(1.2) == pytest.approx(1.0)
    assert clock.lead_s(5.0) == 0.0
    assert clock.num_underruns == 0


def test_an_underrun_is_counted_and_playback_resumes_then() -> None:
    """After a gap the lead counts from the chunk that ended it."""
    clock = PlayoutClock(0.0, first_audio_s=0.25)
    clock.produce(1.0, now_s=0.0)
    clock.produce(0.5, now_s=3.0)
    assert clock.num_underruns == 1
    assert clock.end_s == pytest.approx(3.5)


def test_credit_ends_at_the_grant() -> None:
    """An utterance may make what it was granted and no more."""
    clock = PlayoutClock(0.0, first_audio_s=0.25)
    assert clock.has_credit
    clock.granted_s = 1.0
    clock.produce(0.9, now_s=0.0)
    assert clock.has_credit
    clock.produce(0.2, now_s=0.0)
    assert not clock.has_credit
