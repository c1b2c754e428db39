"""Fundamental frequency by YIN with a Viterbi track, in numpy.

Training needs one F0 per 20 ms frame of clean speech, nothing finer, so no extra package is asked
for: the difference function comes from FFTs and a small dynamic programme keeps the octave.

Source: de Cheveigne and Kawahara 2002 (YIN), equations 6 to 8; the path costs are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from engine.types import Array, FloatArray

MIN_HZ = 55.0
MAX_HZ = 600.0
_NUM_CANDIDATES = 6
_UNVOICED_COST = 0.5  # a frame whose best YIN dip is deeper than this counts as voiced
_OCTAVE_COST = 1.5  # per octave moved between neighbouring frames
_SWITCH_COST = 0.25  # voiced <-> unvoiced
_CHUNK_FRAMES = 2048  # bounds memory to tens of MB


@dataclass(frozen=True, slots=True, eq=False)
class Pitch:
    """F0 per frame.

    Shapes: hz float32 [F], interpolated through unvoiced frames, never 0; voiced bool [F].
    """

    hz: FloatArray
    voiced: Array


def estimate(samples: FloatArray, sample_rate_hz: int, hop: int) -> Pitch:
    """Return the pitch of every whole hop of `samples`.

    Args:
        samples: float32 [N], mono.
        sample_rate_hz: Of `samples`.
        hop: Samples per frame; frame i is centred on sample (i + 0.5) * hop.

    Returns:
        F = N // hop frames. A wave without a voiced frame gets MIN_HZ * 2 throughout.
    """
    num_frames = len(samples) // hop
    max_lag = int(sample_rate_hz / MIN_HZ)
    width = max_lag
    padded = np.pad(samples, (2 * width, 2 * width))
    starts = (np.arange(num_frames) + 0.5) * hop + 2 * width - width // 2 - max_lag // 2
    frames = sliding_window_view(padded, width + max_lag)[starts.astype(np.int64)]
    lags, costs = [], []
    for begin in range(0, num_frames, _CHUNK_FRAMES):
        dips = _normalized_difference(frames[begin : begin + _CHUNK_FRAMES], max_lag)
        lag, cost = _candidates(dips, int(sample_rate_hz / MAX_HZ))
        lags.append(lag)
        costs.append(cost)
    if not lags:
        return Pitch(np.zeros(0, np.float32), np.zeros(0, bool))
    hz = sample_rate_hz / np.concatenate(lags)
    loud = _is_loud(frames)
    choice = _best_path(np.log2(hz), np.concatenate(costs), loud)
    voiced = choice >= 0
    chosen = hz[np.arange(num_frames), np.maximum(choice, 0)]
    return Pitch(_fill(chosen, voiced), voiced)


def _is_loud(frames: Array) -> Array:
    """Return which frames are within 45 dB of the loudest; the rest cannot be voiced."""
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    return np.asarray(power > max(float(power.max()), 1e-8) * 10**-4.5)


def _normalized_difference(frames: Array, max_lag: int) -> FloatArray:
    """Return YIN's cumulative mean normalized difference, float32 [F, max_lag]."""
    width = frames.shape[1] - max_lag
    size = 1 << (frames.shape[1] + width - 1).bit_length()
    head = np.fft.rfft(frames[:, :width], size)
    whole = np.fft.rfft(frames, size)
    cross = np.fft.irfft(whole * head.conj(), size)[:, :max_lag]
    energy = np.cumsum(np.square(frames, dtype=np.float64), axis=1)
    energy = np.pad(energy, ((0, 0), (1, 0)))
    shifted = energy[:, width : width + max_lag] - energy[:, :max_lag]
    difference = np.maximum(shifted[:, :1] + shifted - 2 * cross, 0)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, max_lag)
    normalized = np.ones_like(difference)
    normalized[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-12)
    return np.asarray(normalized, np.float32)


def _candidates(dips: FloatArray, min_lag: int) -> tuple[FloatArray, FloatArray]:
    """Return the deepest local minima of each frame: lags and costs, [F, candidates]."""
    middle = dips[:, 1:-1]
    is_dip = (middle < dips[:, :-2]) & (middle <= dips[:, 2:])
    is_dip[:, : min_lag - 1] = False
    # Short lags win ties: every multiple of the period dips too.
    tilt = np.linspace(0, 0.06, middle.shape[1], dtype=np.float32)
    cost = np.where(is_dip, middle + tilt, 9.0)
    order = np.argpartition(cost, _NUM_CANDIDATES, axis=1)[:, :_NUM_CANDIDATES]
    rows = np.arange(len(dips))[:, None]
    left, centre, right = (dips[rows, order + offset] for offset in (0, 1, 2))
    bend = np.maximum(left - 2 * centre + right, 1e-9)
    lag = order + 1 + np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    return lag.astype(np.float32), cost[rows, order].astype(np.float32)


def _best_path(log_hz: Array, costs: FloatArray, loud: Array) -> Array:
    """Return the candidate of each frame on the cheapest track, -1 where unvoiced: int64 [F]."""
    num_frames, count = costs.shape
    local = np.concatenate([costs, np.full((num_frames, 1), _UNVOICED_COST)], axis=1)
    local[~loud, :count] += 9.0
    total = local[0].copy()
    back = np.zeros((num_frames, count + 1), np.int64)
    step = np.full((count + 1, count + 1), _SWITCH_COST)
    step[count, count] = 0
    for t in range(1, num_frames):
        step[:count, :count] = _OCTAVE_COST * np.abs(log_hz[t][None] - log_hz[t - 1][:, None])
        paths = total[:, None] + step
        back[t] = paths.argmin(axis=0)
        total = paths.min(axis=0) + local[t]
    choice = np.empty(num_frames, np.int64)
    best = int(total.argmin())
    for t in range(num_frames - 1, -1, -1):
        choice[t] = best
        best = int(back[t, best])
    choice[choice == count] = -1
    return choice


def _fill(hz: Array, voiced: Array) -> FloatArray:
    """Interpolate the logarithm of `hz` through unvoiced frames."""
    if not voiced.any():
        return np.full(len(hz), 2 * MIN_HZ, np.float32)
    where = np.flatnonzero(voiced)
    log_hz = np.interp(np.arange(len(hz)), where, np.log(hz[where]))
    return np.exp(log_hz).astype(np.float32)
