"""Gain and limiter."""

from __future__ import annotations

import numpy as np

from engine.limiter import limit


def test_quiet_samples_pass_to_the_bit() -> None:
    """Below the knee nothing changes."""
    samples = np.linspace(-0.9, 0.9, 101, dtype=np.float32)
    np.testing.assert_array_equal(limit(samples, gain_db=0.0), samples)


def test_loud_samples_stay_within_full_scale_and_in_order() -> None:
    """Upstream divided a loud chunk by its peak, then wrapped +1.0 to -32768: a click.

    Here the curve is monotone, symmetric and below 1, so int16 cannot wrap.
    """
    samples = np.linspace(-4, 4, 2001, dtype=np.float32)
    limited = limit(samples, gain_db=0.0)
    assert np.abs(limited).max() <= 1.0
    assert (np.diff(limited) >= 0).all()
    np.testing.assert_allclose(limited, -limited[::-1], atol=1e-7)


def test_gain_does_not_depend_on_the_chunk() -> None:
    """Any cut gives the same samples, however loud its neighbours are."""
    samples = (np.random.default_rng(1).normal(size=1000) * 0.5).astype(np.float32)
    whole = limit(samples, gain_db=6.0)
    parts = [limit(samples[at : at + 77], gain_db=6.0) for at in range(0, 1000, 77)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert limit(samples[:0], gain_db=6.0).shape == (0,)
