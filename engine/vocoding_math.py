"""Speaking rate: statistics of the latent, stretched over time.

Upstream stretches the prior encoder's features before the projection to statistics. The
projection works frame by frame and is affine, so stretching the statistics gives the same and
leaves the network out of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.types import FloatArray


def stretched_length(num_frames: int, speed: float) -> int:
    """Return how many frames `num_frames` become (upstream models.py:259 @48b1a01)."""
    return num_frames if speed == 1.0 else int(num_frames / speed) + 1


def interpolate(stats: FloatArray, positions: NDArray[np.float64]) -> FloatArray:
    """Sample float32 [D, F] linearly at fractional frames `positions` [N]: [D, N].

    Positions beyond the first or last frame take its value.
    """
    last = stats.shape[1] - 1
    inside = np.clip(positions, 0.0, last)
    left = inside.astype(np.int64)
    weight = (inside - left).astype(np.float32)
    right = np.minimum(left + 1, last)
    return np.asarray(stats[:, left] * (1 - weight) + stats[:, right] * weight, np.float32)
