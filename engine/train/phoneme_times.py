"""When each of our phonemes is spoken, from a teacher's alignment in other symbols.

The teacher's symbols are IPA characters, ours are those of the pack; both follow the same text. A
monotone alignment and a table p(teacher symbol | our phoneme) are estimated in turns from the
corpus itself, so no table of correspondences has to be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.types import Array, IntArray

_ROUNDS = 4
_SMOOTHING = 0.05
# Cost of staying on a phoneme, going to the next, skipping one or two that the teacher left out.
_MOVES = (0.7, 0.7, 2.5, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One utterance in both alphabets, as ids: ours int64 [P], teacher's int64 [K]."""

    ours: IntArray
    teacher: IntArray


def align(pairs: Sequence[Pair]) -> list[IntArray]:
    """Return, for every utterance, the position in `ours` of each teacher symbol: int64 [K].

    Positions never fall; the first symbol is on the first phoneme, the last on the last.
    """
    num_ours = 1 + max(int(pair.ours.max()) for pair in pairs)
    num_teacher = 1 + max(int(pair.teacher.max()) for pair in pairs)
    places = [
        np.minimum(
            (np.arange(len(pair.teacher)) + 0.5) / len(pair.teacher) * len(pair.ours),
            len(pair.ours) - 1,
        ).astype(np.int64)
        for pair in pairs
    ]
    for _ in range(_ROUNDS):
        counts = np.full((num_ours, num_teacher), _SMOOTHING)
        for pair, place in zip(pairs, places, strict=True):
            np.add.at(counts, (pair.ours[place], pair.teacher), 1.0)
        costs = -np.log(counts / counts.sum(axis=1, keepdims=True))
        places = [_best(costs[pair.ours][:, pair.teacher]) for pair in pairs]
    return places


def _best(costs: Array) -> IntArray:
    """Return the cheapest monotone path through [P, K]: a row for each column."""
    num_rows, num_columns = costs.shape
    total = np.full(num_rows, np.inf)
    total[0] = costs[0, 0]
    back = np.zeros((num_columns, num_rows), np.int64)
    for column in range(1, num_columns):
        options = np.full((len(_MOVES), num_rows), np.inf)
        for jump, cost in enumerate(_MOVES):
            options[jump, jump:] = total[: num_rows - jump] + cost
        back[column] = options.argmin(axis=0)
        total = options.min(axis=0) + costs[:, column]
    path = np.empty(num_columns, np.int64)
    # Too few symbols to reach the last phoneme: end on the furthest that can be reached.
    row = num_rows - 1 if np.isfinite(total[-1]) else int(np.flatnonzero(np.isfinite(total))[-1])
    for column in range(num_columns - 1, -1, -1):
        path[column] = row
        row -= int(back[column, row])
    return path


def at_times(path: IntArray, durations_s: Sequence[float], times_s: Array) -> IntArray:
    """Return the phoneme spoken at each time, int64, from `align`'s path and its durations."""
    ends = np.cumsum(np.asarray(durations_s, np.float64))
    where = np.minimum(np.searchsorted(ends, times_s, side="right"), len(path) - 1)
    return path[where]
