"""The training loop: resuming, checkpoints, averages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import CheckpointError, InvalidParameter
from engine.train.loop import CHECKPOINT, METRICS, LoopSettings, Run, clip_and_step, load_average


class Line:
    """Fits a line; the batch is drawn from torch's generator, which the loop seeds."""

    averaged = ("line",)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)
        self.networks = {"line": self.line}
        self.optimizers = {"line": torch.optim.AdamW(self.line.parameters())}

    def step(self, step: int) -> dict[str, float]:
        x = torch.randn(16, 2)
        loss = (self.line(x) - x.sum(dim=1, keepdim=True)).square().mean()
        loss.backward()
        clip_and_step(self.optimizers.values(), list(self.line.parameters()), 5.0)
        return {"loss": loss.item()}


SETTINGS = LoopSettings(
    steps=60, learning_rate=0.1, final_rate=0.01, warmup_steps=5, ema=0.9, log_every=5
)


def test_loss_falls_and_is_logged(tmp_path: Path) -> None:
    """The metrics file has one line per interval and the loss goes down."""
    Run(tmp_path, Line(), SETTINGS).train()
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(5, 61, 5))
    assert rows[-1]["loss"] < 0.05 * rows[0]["loss"]


def test_killed_run_takes_the_same_steps(tmp_path: Path) -> None:
    """Stopped anywhere and started again, a run ends with bit-identical weights and averages."""
    Run(tmp_path / "whole", Line(), SETTINGS).train()
    run = Run(tmp_path / "cut", Line(), SETTINGS)
    run.stage.step = _stop_after(run, 23)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.train()
    Run(tmp_path / "cut", Line(), SETTINGS).train()
    whole, cut = (load_average(tmp_path / name, "line") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def _stop_after(run: Run, steps: int):  # type: ignore[no-untyped-def]
    real = type(run.stage).step.__get__(run.stage)

    def step(index: int) -> dict[str, float]:
        if index == steps:
            run.save()
            raise KeyboardInterrupt
        return real(index)

    return step


def test_other_networks_are_refused(tmp_path: Path) -> None:
    """A run folder of other sizes names itself instead of loading half of the weights."""
    run = Run(tmp_path, Line(), SETTINGS)
    run.save()
    other = Line()
    other.line = nn.Linear(3, 1)
    other.networks = {"line": other.line}
    with pytest.raises(CheckpointError, match="does not fit the config"):
        Run(tmp_path, other, SETTINGS)


def test_missing_stage_is_named(tmp_path: Path) -> None:
    """Asking for weights that are not there says which stage to train."""
    with pytest.raises(CheckpointError, match="train this stage first"):
        load_average(tmp_path, "line")
    Run(tmp_path, Line(), SETTINGS).save()
    assert (tmp_path / CHECKPOINT).exists()
    with pytest.raises(CheckpointError, match="no network 'judge'"):
        load_average(tmp_path, "judge")


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("final_rate", 1.0)])
def test_impossible_settings_are_named(field: str, value: float) -> None:
    """The error names the field."""
    with pytest.raises(InvalidParameter, match=field):
        LoopSettings(**{field: value})


def test_infinite_gradient_changes_nothing() -> None:
    """A step whose gradient is not finite is left out."""
    line = nn.Linear(1, 1)
    before = line.weight.detach().clone()
    (line(torch.ones(1, 1)) * float("inf")).sum().backward()
    clip_and_step([torch.optim.SGD(line.parameters(), 1.0)], list(line.parameters()), 1.0)
    assert torch.equal(line.weight, before)
