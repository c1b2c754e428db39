"""A recording as the GE2E speaker encoder hears it: overlapping windows of mel power."""

from __future__ import annotations

import numpy as np

from engine.audio.mel import HOP, ge2e_mel
from engine.types import FloatArray

_WINDOW_FRAMES = 160  # 1.6 s, what the network was trained on
_STEP_FRAMES = 77  # 1.3 windows a second
_MIN_COVERAGE = 0.75  # a last window with less sound than this is dropped
_TARGET_RMS = 10 ** (-30 / 20)  # quieter waves are raised to -30 dBFS; the input is power, not log


def speaker_windows(samples: FloatArray, *, mel_bins: int) -> FloatArray:
    """Return mel power float32 [W, 160, mel_bins] of a wave.

    Args:
        samples: float32 [N], mono, 16 kHz, in [-1, 1], silence already trimmed.
    """
    starts = window_starts(len(samples))
    samples = raise_level(samples)
    missing = (starts[-1] + _WINDOW_FRAMES) * HOP - len(samples)
    mel = ge2e_mel(np.pad(samples, (0, max(0, missing))), num_filters=mel_bins)
    return np.stack([mel[start : start + _WINDOW_FRAMES] for start in starts])


def speaker_mean(embeddings: FloatArray) -> FloatArray:
    """Return the embedding of a recording, unit length, from those of its windows [W, S]."""
    mean = embeddings.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def window_starts(num_samples: int) -> list[int]:
    """Return the first frame of every window; a last one with too little sound is left out."""
    num_frames = num_samples // HOP + 1
    starts = list(range(0, max(1, num_frames - _WINDOW_FRAMES + _STEP_FRAMES + 1), _STEP_FRAMES))
    covered = (num_samples - starts[-1] * HOP) / (_WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts


def raise_level(samples: FloatArray) -> FloatArray:
    """Return the wave with an RMS of at least -30 dBFS; silence stays as it is."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if rms == 0.0 or rms >= _TARGET_RMS:
        return samples
    return samples * np.float32(_TARGET_RMS / rms)
