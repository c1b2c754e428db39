"""The collapse guard."""

from __future__ import annotations

import random

import pytest

from engine.collapse import (
    MAX_EQUAL_RUN,
    MAX_PERIODIC_RUN,
    MAX_STUCK_TOKENS,
    PROGRESS_WINDOW,
    Collapse,
    CollapseGuard,
    token_limit,
)


def feed(guard: CollapseGuard, tokens: list[int]) -> tuple[Collapse | None, int]:
    """Give tokens one by one; return the verdict and how many were given."""
    for count in range(1, len(tokens) + 1):
        if (collapse := guard.check(tokens[:count])) is not None:
            return collapse, count
    return None, len(tokens)


def test_ordinary_speech_passes() -> None:
    """Random tokens with short pauses are left alone."""
    dice = random.Random(1)
    tokens = [t for _ in range(40) for t in (*dice.sample(range(1000), 8), 486, 486, 486)]
    assert feed(CollapseGuard(200), tokens) == (None, len(tokens))


def test_a_run_of_one_token_is_caught() -> None:
    """48 equal tokens, and what came before is kept with one of them."""
    guard = CollapseGuard(100)
    tokens = list(range(20)) + [7] * 100
    collapse, count = feed(guard, tokens)
    assert (collapse, count) == (Collapse.EQUAL_RUN, 20 + MAX_EQUAL_RUN)
    assert guard.healthy_length(tokens[:count], Collapse.EQUAL_RUN) == 21


@pytest.mark.parametrize("period", [2, 5, 8])
def test_a_loop_is_caught(period: int) -> None:
    """A loop of up to 8 tokens ends after 2.5 s, keeping one round."""
    guard = CollapseGuard(100)
    tokens = list(range(100, 110)) + list(range(period)) * 60
    collapse, count = feed(guard, tokens)
    assert collapse is Collapse.PERIODIC_RUN
    assert count == 10 + period + MAX_PERIODIC_RUN
    assert guard.healthy_length(tokens[:count], collapse) == 10 + period


def test_a_few_tokens_in_any_order_say_nothing_new() -> None:
    """A hum or hiss of 8 tokens is caught after 3 s and dropped whole; 9 tokens pass."""
    dice = random.Random(3)
    for num_stuck, verdict in ((MAX_STUCK_TOKENS, Collapse.NO_PROGRESS), (9, None)):
        guard = CollapseGuard(100)
        stuck = [t for _ in range(20) for t in dice.sample(range(num_stuck), num_stuck)]
        tokens = [*range(100, 130), *stuck[:100]]
        collapse, count = feed(guard, tokens)
        assert collapse is verdict
        if collapse is not None:
            assert count == 30 + PROGRESS_WINDOW
            assert guard.healthy_length(tokens[:count], collapse) == 30


def test_speech_without_end_is_caught() -> None:
    """More tokens than any speech of so many phonemes takes."""
    dice = random.Random(2)
    guard = CollapseGuard(5)
    tokens = [dice.randrange(1000) for _ in range(500)]
    assert feed(guard, tokens) == (Collapse.TOO_LONG, token_limit(5))
    assert guard.healthy_length(tokens[:100], Collapse.TOO_LONG) == 100
