"""Catches a T2S that is stuck: one token, a loop, a few tokens in turn, or speech without end.

Autoregressive speech models collapse now and then; upstream goes on for up to 60 s. A collapse is
seen from the tokens alone, so it is the same for every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

# 48 equal tokens are 1.9 s: longer than any pause or vowel a sentence holds.
MAX_EQUAL_RUN = 48
# A loop of up to 8 tokens (0.3 s) for 2.5 s.
MAX_PERIODIC_RUN = 64
MAX_PERIOD = 8
# Speech that gets on through its text: 75 tokens (3 s) of six voices hold at least 43 different
# ones. With a handful nothing new is said, whether hum, hiss or silence, in whatever order.
PROGRESS_WINDOW = 75
MAX_STUCK_TOKENS = 8
# Speech takes 2 to 3 tokens a phoneme; 4 times that is no speech any more. The constant leaves
# room for the silence around very short sentences.
MAX_TOKENS_PER_PHONEME = 10
MAX_TOKENS_BASE = 50


class Collapse(StrEnum):
    """What went wrong."""

    EQUAL_RUN = "equal_run"
    PERIODIC_RUN = "periodic_run"
    NO_PROGRESS = "no_progress"
    TOO_LONG = "too_long"


def token_limit(num_phonemes: int) -> int:
    """Return how many tokens a sentence of so many phonemes may have at most."""
    return MAX_TOKENS_BASE + MAX_TOKENS_PER_PHONEME * num_phonemes


class CollapseGuard:
    """Watches one sentence's tokens as they come; O(PROGRESS_WINDOW) per token."""

    def __init__(self, num_phonemes: int) -> None:
        self._limit = token_limit(num_phonemes)
        self._num_checked = 0
        self._runs = [0] * (MAX_PERIOD + 1)  # by period: how long the loop has gone on

    def check(self, tokens: Sequence[int]) -> Collapse | None:
        """Judge `tokens` after its last one was added; call once per token."""
        last = len(tokens) - 1
        for period in range(1, MAX_PERIOD + 1):
            repeats = last >= period and tokens[last] == tokens[last - period]
            self._runs[period] = self._runs[period] + 1 if repeats else 0
        if self._runs[1] >= MAX_EQUAL_RUN - 1:
            return Collapse.EQUAL_RUN
        if max(self._runs[2:]) >= MAX_PERIODIC_RUN:
            return Collapse.PERIODIC_RUN
        self._num_checked += 1
        if self._num_checked >= PROGRESS_WINDOW:
            if len(set(tokens[-PROGRESS_WINDOW:])) <= MAX_STUCK_TOKENS:
                return Collapse.NO_PROGRESS
        if len(tokens) >= self._limit:
            return Collapse.TOO_LONG
        return None

    def healthy_length(self, tokens: Sequence[int], collapse: Collapse) -> int:
        """Return how many of `tokens` to keep: those before the loop, and one round of it."""
        if collapse is Collapse.TOO_LONG:
            return len(tokens)
        if collapse is Collapse.NO_PROGRESS:
            return len(tokens) - PROGRESS_WINDOW
        period = max(range(1, MAX_PERIOD + 1), key=lambda p: (self._runs[p], -p))
        return len(tokens) - self._runs[period]
