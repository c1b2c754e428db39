"""A voice's constant gain and a limiter in place of clipping.

Both are functions of one sample, so they cannot differ between chunks. Upstream divides a chunk
whose peak exceeds 1 by that peak, which changes loudness from chunk to chunk, and then lets +1.0
wrap to -32768 in int16.
"""

from __future__ import annotations

import numpy as np

from engine.types import FloatArray

_KNEE = 0.9  # samples up to here pass unchanged


def limit(samples: FloatArray, *, gain_db: float) -> FloatArray:
    """Return float32 [N]: `samples` with `gain_db` applied, bent to stay within (-1, 1)."""
    gained = samples * np.float32(10 ** (gain_db / 20)) if gain_db else samples
    size = np.abs(gained)
    if not len(gained) or size.max() <= _KNEE:
        return gained
    room = np.float32(1 - _KNEE)
    bent = _KNEE + room * np.tanh((size - _KNEE) / room)
    return np.asarray(np.where(size > _KNEE, np.copysign(bent, gained), gained), np.float32)
