"""How two measurements of the same thing differ. Runs that were not alike are refused."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import QUIET_SHARE
from bench.results import differences, name_of, read_result
from engine.errors import InvalidParameter

_CLOCKS = ("first_byte_s", "first_frame_s", "first_audible_s", "clause_audible_s", "rtf")
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Ratio:
    """B over A of one clock at one level: below 1, B is faster.

    Attributes:
        low, high: Of the median's ratio, 95 % of resampled pairs of runs lie between.
    """

    p50: float
    low: float
    high: float
    p95: float
    n: tuple[int, int]

    @property
    def is_clear(self) -> bool:
        """True if the medians differ by more than chance."""
        return self.low > 1 or self.high < 1


def ratio(a: Sequence[float], b: Sequence[float], *, seed: int = 1) -> Ratio | None:
    """Compare two samples; None if one is empty or its median is 0."""
    if not a or not b or not np.median(a):
        return None
    dice = np.random.default_rng(seed)
    medians = [
        np.median(dice.choice(values, (_RESAMPLES, len(values))), axis=1) for values in (a, b)
    ]
    low, high = np.percentile(medians[1] / np.maximum(medians[0], 1e-9), (2.5, 97.5))
    p95 = float(np.percentile(b, 95) / np.percentile(a, 95))
    p50 = float(np.median(b) / np.median(a))
    return Ratio(p50, float(low), float(high), p95, (len(a), len(b)))


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, Ratio]]:
    """Return level, clock and ratio for all that both have."""
    rows = []
    for first, second in zip(a["levels"], b["levels"], strict=True):
        name = name_of(first["load"])
        for clock in _CLOCKS:
            found = ratio(_values(first, clock), _values(second, clock))
            if found is not None:
                rows.append((name, clock.removesuffix("_s"), found))
    return rows


def _values(level: Mapping[str, Any], clock: str) -> list[float]:
    found = [run["clocks"][clock] for run in level["runs"]]
    return [value for value in found if value is not None]


def doubts(result: Mapping[str, Any]) -> list[str]:
    """Return what speaks against a result: a machine that was not quiet, utterances that failed."""
    found, levels = [], result["levels"]
    share = max((level["others_share"] for level in levels), default=0.0)
    if not share <= QUIET_SHARE:
        found.append(f"was not quiet, others used {100 * share:.0f} % of the machine")
    errors = sum(len(level["summary"]["errors"]) for level in levels)
    if errors:
        found.append(f"has {errors} utterances that failed, in no ratio")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("a", type=Path, help="JSON of bench latency")
    parser.add_argument("b", type=Path)
    parser.add_argument("--across", action="append", default=[], metavar="FIELD",
                        help="this may differ: say it and it is said in the answer")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the ratios; status 2 if the runs were not alike."""
    try:
        a, b = read_result(args.a), read_result(args.b)
    except InvalidParameter as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    against = differences(a, b, across=args.across)
    if a.get("bench") != "latency":
        against.append(f"bench: {a.get('bench')!r}, valid: 'latency'")
    if against:
        print("these runs were not alike:\n  " + "\n  ".join(against))
        print("measure again alike, or name what is meant to differ with --across FIELD")
        return 2
    for name in args.across:
        print(f"across different {name}")
    print(f"B over A; A {a['target']}, B {b['target']}")
    for level, clock, found in compare(a, b):
        clear = "" if found.is_clear else "  not more than chance"
        print(
            f"{level:<14}{clock:<16}p50 {found.p50:6.3f} [{found.low:.3f} .. {found.high:.3f}]"
            f"  p95 {found.p95:6.3f}  n={found.n[0]}/{found.n[1]}{clear}"
        )
    for name, result in (("A", a), ("B", b)):
        for doubt in doubts(result):
            print(f"{name} {doubt}")
    return 0
