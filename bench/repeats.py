"""Audio that was sent twice: the end of one piece is, sample by sample, the start of the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.types import FloatArray

_SHORTEST_MS, _LONGEST_MS = 20, 500
_SILENCE = 10 ** (-50 / 20)


def repeated_ms(samples: FloatArray, sizes: Sequence[int], rate_hz: int) -> float:
    """Return how much audio follows itself at the borders of pieces, in ms.

    Speech never is equal to what was before it, a tone always: blocks that are one sine are no
    repeats.

    Args:
        samples: float32 [N], all pieces in order.
        sizes: Samples in each piece.
    """
    total = 0
    for border in np.cumsum(sizes)[:-1]:
        total += _repeated(samples, int(border), rate_hz)
    return 1000.0 * total / rate_hz


def _repeated(samples: FloatArray, border: int, rate_hz: int) -> int:
    """Return the length of what stands on both sides of a border, 0 for none."""
    shortest = rate_hz * _SHORTEST_MS // 1000
    longest = min(rate_hz * _LONGEST_MS // 1000, border, len(samples) - border)
    if longest < shortest:
        return 0
    head = samples[border : border + shortest]
    if float(np.sqrt(np.mean(head.astype(np.float64) ** 2))) < _SILENCE:
        return 0
    window = samples[border - longest : border]
    starts = np.flatnonzero(window[: longest - shortest + 1] == head[0])
    for start in starts[::-1]:
        length = longest - int(start)
        if np.array_equal(window[start:], samples[border : border + length]):
            return 0 if _is_tone(window[start:]) else length
    return 0


def _is_tone(block: FloatArray) -> bool:
    """Return whether a block is one sine, whose periods are all equal."""
    power = np.abs(np.fft.rfft(block * np.hanning(len(block)))) ** 2
    peak = int(np.argmax(power))
    return float(power[max(0, peak - 2) : peak + 3].sum()) > 0.95 * float(power.sum())
