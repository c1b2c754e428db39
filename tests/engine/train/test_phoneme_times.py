"""Our phonemes on a teacher's time axis."""

from __future__ import annotations

import numpy as np

from engine.train.phoneme_times import Pair, align, at_times


def test_correspondence_is_found_without_a_table() -> None:
    """Phoneme i is spoken as symbols 2i and 2i + 1, silences between; every place is right."""
    rng = np.random.default_rng(0)
    pairs, truth = [], []
    for _ in range(60):
        ours = rng.integers(10, size=12)
        teacher, place = [], []
        for index, phoneme in enumerate(ours):
            teacher += [2 * phoneme, 2 * phoneme + 1][: 1 + index % 2]
            place += [index] * (1 + index % 2)
        pairs.append(Pair(ours, np.array(teacher)))
        truth.append(np.array(place))
    found = align(pairs)
    right = np.mean(np.concatenate([f == t for f, t in zip(found, truth, strict=True)]))
    assert right > 0.95
    assert all((np.diff(path) >= 0).all() for path in found)


def test_too_few_symbols_do_not_fail() -> None:
    """A teacher that says less than we wrote ends on the furthest phoneme it can reach."""
    (path,) = align([Pair(np.arange(20), np.array([0, 1]))])
    assert path[0] == 0 and path[1] <= 3


def test_times_follow_durations() -> None:
    """The phoneme of a time is that of the symbol sounding then; the last one goes on."""
    path = np.array([0, 0, 1, 2])
    at = at_times(path, (0.1, 0.1, 0.2, 0.1), np.array([0.05, 0.15, 0.25, 0.45, 9.0]))
    assert at.tolist() == [0, 0, 1, 2, 2]
