"""Counter-based noise: independence of chunking, distributions, separation of streams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import noise

PINNED_EXPONENTIAL = [1.17070997, 1.58637500, 0.121266708, 0.907768369]
PINNED_NORMAL = [0.22345072, 1.60984623, -1.35380554, -0.408828527]


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    channels=st.sampled_from([1, 7, 8, 9, 192]),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_cut_of_the_frames_gives_the_same_noise(
    cuts: list[int], channels: int, seed: int
) -> None:
    """Chunks joined are bit-identical to the whole, for every cut and channel count."""
    whole = noise.normal(seed, 3, 0, 40, channels)
    edges = [0, *sorted(cuts), 40]
    pieces = [
        noise.normal(seed, 3, start, end - start, channels)
        for start, end in zip(edges, edges[1:], strict=False)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_normal_moments() -> None:
    """Mean 0, variance 1, kurtosis 3, no correlation between the two halves of a word."""
    values = noise.normal(1, 0, 0, 5000, 192).astype(np.float64)
    assert abs(values.mean()) < 4e-3
    assert abs(values.var() - 1) < 6e-3
    assert abs((values**4).mean() - 3) < 4e-2
    assert abs((values[0::2] * values[1::2]).mean()) < 6e-3
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < 4e-3


def test_exponential_moments() -> None:
    """Mean 1, variance 1, and P(x > 2) = exp(-2)."""
    values = np.concatenate([noise.exponential(9, 0, step, 1025) for step in range(400)])
    assert abs(values.mean() - 1) < 8e-3
    assert abs(values.var() - 1) < 2e-2
    assert abs((values > 2).mean() - np.exp(-2)) < 2e-3
    assert values.min() > 0


def test_draws_on_demand_are_those_of_the_whole_step() -> None:
    """Bit by bit, for any tokens and in any order, whatever was drawn between."""
    whole = noise.exponential(5, 1, 2, 1025)
    draws = noise.ExponentialDraws(5, 1, 2, 1025)
    noise.normal(7, 0, 3, 2, 192)
    tokens = np.array([1024, 3, 3, 0, 517])
    np.testing.assert_array_equal(draws[tokens], whole[tokens])


def test_threads_do_not_disturb_each_other() -> None:
    """The lanes draw at the same time; each gets what it gets alone."""
    alone = [noise.exponential(1, 0, step, 1025) for step in range(300)]

    def again(_: int) -> bool:
        drawn = (noise.exponential(1, 0, step, 1025) for step in range(300))
        return all(np.array_equal(a, b) for a, b in zip(drawn, alone, strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(again, range(4)))


def test_a_smaller_vocabulary_is_a_prefix() -> None:
    """Cutting off the EOS column must not reshuffle the other draws."""
    np.testing.assert_array_equal(
        noise.exponential(5, 1, 2, 1024), noise.exponential(5, 1, 2, 1025)[:-1]
    )


@pytest.mark.parametrize("other", [(6, 1, 2), (5, 2, 2), (5, 1, 3)])
def test_seed_sentence_and_step_all_matter(other: tuple[int, int, int]) -> None:
    """Changing any part of the address changes the draws, without correlation."""
    base = noise.exponential(5, 1, 2, 1025)
    changed = noise.exponential(*other, 1025)
    assert abs(np.corrcoef(base, changed)[0, 1]) < 0.12
    assert not np.any(base == changed)


@pytest.mark.parametrize("other", [(6, 1, 0), (5, 2, 0), (5, 1, 8)])
def test_frames_of_other_seeds_sentences_and_places_differ(other: tuple[int, int, int]) -> None:
    """No two windows that do not overlap share a value."""
    base = noise.normal(5, 1, 0, 8, 192)
    changed = noise.normal(*other, 8, 192)
    assert not np.any(base == changed)


def test_values_are_pinned() -> None:
    """The same seed must give the same audio in every release: frozen values."""
    np.testing.assert_allclose(noise.exponential(1234, 0, 0, 4), PINNED_EXPONENTIAL, rtol=1e-6)
    np.testing.assert_allclose(noise.normal(1234, 0, 7, 1, 4)[:, 0], PINNED_NORMAL, rtol=1e-6)
