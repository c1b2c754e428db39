"""How numeric tests compare: the largest difference, relative to the largest expected value."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.types import FloatArray
from engine.vocoding_math import interpolate, stretched_length

STAGE = 1e-5  # one stage fed with golden inputs, fp32
END_TO_END = 1e-4  # a chain of stages, fp32
EXACT = 1e-6  # the same mathematics in another order, such as chunks against the whole


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Return a numpy array of a tensor or array, without axes of length one."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.squeeze(np.asarray(value))


def relative_error(actual: Any, expected: Any) -> float:
    """Return max|actual - expected| / max|expected|; infinite where shapes differ or NaN is."""
    a, b = as_array(actual), as_array(expected)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b).max() / np.abs(b).max())


def assert_close(actual: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Fail with the error and both shapes when `relative_error` exceeds `tolerance`."""
    error = relative_error(actual, expected)
    shapes = f"{as_array(actual).shape} against {as_array(expected).shape}"
    assert error <= tolerance, f"{what} differs by {error:.2e} > {tolerance:.0e} ({shapes})"


def stretched(stats: FloatArray, speed: float) -> FloatArray:
    """Return float32 [D, F] at another speaking rate, whole: what a stream does piece by piece."""
    num_frames = stats.shape[1]
    length = stretched_length(num_frames, speed)
    # Frame centres are mapped to frame centres, so that the whole stays in place.
    return interpolate(stats, (np.arange(length) + 0.5) * (num_frames / length) - 0.5)
