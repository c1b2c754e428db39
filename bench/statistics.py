"""Percentiles with their n, and what one level of load came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.clocks import BUFFERS_MS, Clocks
from bench.load import Outcome, Run

# A p95 of 20 values is nearly their maximum; it is given all the same, with its n beside it.
CLOCKS = (
    "first_byte_s",
    "first_frame_s",
    "first_audible_s",
    "clause_byte_s",
    "clause_frame_s",
    "clause_audible_s",
    "leading_silence_s",
    "wall_s",
    "audio_s",
    "rtf",
    "cancel_last_byte_s",
    "cancel_confirmed_s",
)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of n values, interpolated between neighbours."""

    n: int
    min: float
    p50: float
    p95: float
    p99: float
    max: float
    iqr: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles | None:
        """Summarise; None without values."""
        if not values:
            return None
        low, q1, p50, q3, p95, p99, high = np.percentile(values, (0, 25, 50, 75, 95, 99, 100))
        numbers = (low, p50, p95, p99, high, q3 - q1)
        return cls(len(values), *(float(number) for number in numbers))


def summarise(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of a level."""
    clocks = [run.clocks for run in outcome.runs]
    gaps = [gap for c in clocks for gap in c.gaps_s]
    audio_s = sum(c.audio_s for c in clocks)
    problems = Counter(problem for c in clocks for problem in c.problems)
    problems.update(short_audio(outcome.runs))
    return {
        **{name: _quantiles(clocks, name) for name in CLOCKS},
        "gap_s": _plain(Quantiles.of(gaps)),
        "underruns": {
            str(ms): {
                "utterances": sum(bool(c.playouts[ms].underruns) for c in clocks if c.playouts),
                "gaps": sum(c.playouts[ms].underruns for c in clocks if c.playouts),
                "stalled_s": sum(c.playouts[ms].stalled_s for c in clocks if c.playouts),
            }
            for ms in BUFFERS_MS
        },
        "problems": dict(problems),
        "errors": [run.clocks.error for run in outcome.runs if run.clocks.error],
        "n": len(clocks),
        "concurrent": outcome.concurrent,
        "audio_per_s": audio_s / outcome.wall_s if outcome.wall_s > 0 else 0.0,
        "wall_s_all": outcome.wall_s,
        "client_lag_p99_s": outcome.lag_p99_s,
    }


def short_audio(runs: Sequence[Run]) -> Counter[str]:
    """Return how many utterances lack audio that others of the same text have.

    A server that samples freely speaks a text differently every time: only under nine tenths of the
    usual length counts.
    """
    by_text: dict[str, list[float]] = {}
    for run in runs:
        if run.clocks.rtf is not None:
            by_text.setdefault(run.text, []).append(run.clocks.audio_s)
    short = 0
    for lengths in by_text.values():
        if len(lengths) >= 3:
            usual = float(np.median(lengths))
            short += sum(length < 0.9 * usual for length in lengths)
    return Counter({"short_audio": short} if short else {})


def as_raw(run: Run) -> dict[str, Any]:
    """Return a run for the JSON."""
    return asdict(run)


def _quantiles(clocks: Sequence[Clocks], name: str) -> dict[str, Any] | None:
    values = [float(found) for c in clocks if (found := getattr(c, name)) is not None]
    return _plain(Quantiles.of(values))


def _plain(quantiles: Quantiles | None) -> dict[str, Any] | None:
    return None if quantiles is None else asdict(quantiles)
