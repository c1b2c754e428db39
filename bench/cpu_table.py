"""The table of `bench cpu`: its targets, how it is kept, printed and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import plots
from bench.environment import environment

_NO_TARGET = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be.

    Attributes:
        at_most: Smaller is better; else larger is.
    """

    title: str
    unit: str
    value: float
    at_most: bool = True

    def is_met(self, value: float) -> bool:
        """Return whether a figure is good enough."""
        return value <= self.value if self.at_most else value >= self.value


TARGETS: Mapping[str, Target] = {
    "step-fp32": Target("step fp32, batch 1, past 256", "x torch fp32", 1.7, at_most=False),
    "step-int8": Target("step int8, batch 1, past 256", "x torch fp32", 4.0, at_most=False),
    "roof-fp32": Target("step fp32, of the bandwidth roof", "%", 70, at_most=False),
    "roof-int8": Target("step int8, of the bandwidth roof", "%", 60, at_most=False),
    "decoder-bf16": Target("decoder bf16, 1 s of audio", "x torch fp32", 1.9, at_most=False),
    "decoder-fp32": Target("decoder fp32, 1 s of audio", "x torch fp32", 1.0, at_most=False),
    "v2Pro-first": Target("v2Pro, first packet, 10 characters", "ms", 300),
    "v2Pro-rtf": Target("v2Pro, RTF of one stream", "", 0.30),
    "v2Pro-memory": Target("v2Pro, resident memory", "MB", 1200),
    "v2Pro-start": Target("v2Pro, cold start to ready", "s", float("inf")),
    "nano-first": Target("nano, first packet, 10 characters", "ms", 80),
    "nano-rtf": Target("nano, RTF of one stream", "", 0.10),
    "nano-memory": Target("nano, resident memory", "MB", 350),
    "nano-start": Target("nano, cold start to ready", "s", 3.0),
    "nano-streams": Target("nano, real-time streams at once", "", 8, at_most=False),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        value: What the target is about: the median, or the ratio of best times.
        best: The best of `n`; equal to `value` where there was one.
        note: How it was measured, where that is not plain.
    """

    value: float
    best: float
    n: int
    note: str = ""


def merge(path: Path | None, figures: Mapping[str, Figure], others_share: float) -> dict[str, Any]:
    """Return all figures: those of `path`, and new ones in their place, and write them there.

    A run may measure some rows only, so each figure keeps the environment of its own run.
    """
    kept: dict[str, Any] = {}
    if path is not None and path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8")).get("figures", {})
    here = {**environment(), "others_share": others_share}
    fresh = {name: {**asdict(figure), "run": here} for name, figure in figures.items()}
    merged = {**kept, **fresh}
    ordered = {name: merged[name] for name in TARGETS if name in merged}
    result = {"environment": environment(), "bench": "cpu", "figures": ordered}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".svg").write_text(plot(ordered) + "\n", encoding="utf-8")
    return result


def lines(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table as text."""
    head = f"{'':<38}{'value':>9} {'unit':<13}{'best':>9}{'n':>5}   {'target':<10}"
    found = [head]
    for name, figure in figures.items():
        target = TARGETS[name]
        found.append(
            f"{target.title:<38}{figure['value']:>9.3g} {target.unit:<13}{figure['best']:>9.3g}"
            f"{figure['n']:>5}   {_aim(target):<10}{_verdict(target, figure['value'])}"
            f"{'  ' + figure['note'] if figure['note'] else ''}"
        )
    return found


def plot(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return bars of how far each figure is from its target: 1 and more is met."""
    values = {}
    for name, figure in figures.items():
        target = TARGETS[name]
        if target.value == float("inf") or not figure["value"]:
            continue
        ratio = figure["value"] / target.value
        values[name] = 1 / ratio if target.at_most else ratio
    return plots.bars(values, "times the target (1: met)")


def _aim(target: Target) -> str:
    if target.value == float("inf"):
        return _NO_TARGET
    return f"{'<=' if target.at_most else '>='} {target.value:g}"


def _verdict(target: Target, value: float) -> str:
    if target.value == float("inf"):
        return _NO_TARGET
    return "met" if target.is_met(value) else "missed"
