"""When speech begins to be heard: 10 ms of loudness above a threshold that lasts."""

from __future__ import annotations

import numpy as np

from engine.types import FloatArray

# As pipecat measures it: a 10 ms window moved by 1 ms is over -40 dBFS for at least 50 ms.
WINDOW_MS, HOP_MS, LASTING_MS = 10, 1, 50
THRESHOLD_DBFS = -40.0
_THRESHOLD = 10 ** (THRESHOLD_DBFS / 20)


def onset_sample(samples: FloatArray, rate_hz: int) -> int | None:
    """Return the first sample that is heard, None if none is.

    A window that is loud may begin in silence; of the first one, the first sample that is over the
    threshold itself is taken, so a hard start is found to the sample.

    Args:
        samples: float32 [N] in [-1, 1], mono.
    """
    window, hop = rate_hz * WINDOW_MS // 1000, max(1, rate_hz * HOP_MS // 1000)
    if len(samples) < window:
        return None
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, len(samples) - window + 1, hop)
    is_loud = energy[starts + window] - energy[starts] > window * _THRESHOLD**2
    needed = (LASTING_MS - WINDOW_MS) // HOP_MS + 1
    if len(is_loud) < needed:
        return None
    counts = np.concatenate([[0], np.cumsum(is_loud)])
    lasting = np.flatnonzero(counts[needed:] - counts[:-needed] == needed)
    if not len(lasting):
        return None
    start = int(starts[lasting[0]])
    return start + int(np.argmax(np.abs(samples[start : start + window]) > _THRESHOLD))
