"""The curves of a run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from engine.train.loop import METRICS

CURVES = "curves.png"
_SMOOTHING = 5  # logged points


def draw_curves(folder: Path) -> Path | None:
    """Draw every logged figure of a run over its steps; None when nothing was logged."""
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = sorted({name for row in rows for name in row} - {"step", "seconds"})
    if not names:
        return None
    figure = Figure(figsize=(8, 2 * len(names)))
    axes = figure.subplots(len(names), 1, squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        steps = [row["step"] for row in rows if name in row]
        values = [row[name] for row in rows if name in row]
        axis.plot(steps, values, alpha=0.4)
        axis.plot(steps, _smooth(values))
        axis.set_ylabel(name)
    axes[-1, 0].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(folder / CURVES, dpi=80)
    return folder / CURVES


def _smooth(values: list[float]) -> list[float]:
    """Return running means over the last few points."""
    return [
        sum(values[max(0, i - _SMOOTHING + 1) : i + 1]) / min(i + 1, _SMOOTHING)
        for i in range(len(values))
    ]
