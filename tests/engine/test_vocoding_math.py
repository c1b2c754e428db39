"""Stretching statistics over time."""

from __future__ import annotations

import numpy as np
import pytest

from engine.vocoding_math import interpolate, stretched_length
from tests.numerics import stretched


def test_speed_one_changes_nothing() -> None:
    """Not even the extra frame that other speeds get."""
    assert stretched_length(7, 1.0) == 7


@pytest.mark.parametrize(
    ("speed", "length"), [(2.0, 6), (0.5, 21), (1.25, 9), (0.8, 13), (1.1, 10)]
)
def test_length_is_upstream_s(speed: float, length: int) -> None:
    """int(10 / speed) + 1."""
    assert stretched_length(10, speed) == length


@pytest.mark.parametrize("speed", [0.5, 0.77, 1.3, 2.0])
def test_equals_torch_s_linear_interpolation(speed: float) -> None:
    """What upstream uses, on random statistics."""
    torch = pytest.importorskip("torch")
    stats = np.random.default_rng(1).normal(size=(4, 31)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(stats)[None], size=int(31 / speed) + 1, mode="linear"
    )
    assert np.abs(stretched(stats, speed) - expected[0].numpy()).max() < 1e-5


def test_positions_outside_hold_the_edge() -> None:
    """Nothing is extrapolated."""
    stats = np.array([[1.0, 3.0, 5.0]], np.float32)
    found = interpolate(stats, np.array([-0.4, 0.0, 0.5, 2.0, 2.7]))
    assert found.tolist() == [[1.0, 1.0, 2.0, 5.0, 5.0]]
