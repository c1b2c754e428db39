"""Training that watches a held-out loss: it stops, keeps the best, and a kill changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.train.early_stop import EarlyStop, best_weights, held_out_loss, train_watched
from engine.train.loop import LoopSettings, Run

RULE = EarlyStop(every=5, patience=2, batches=2)
SETTINGS = LoopSettings(
    steps=60, learning_rate=0.1, final_rate=0.1, warmup_steps=1, ema=0.1, log_every=5
)


class Point:
    """One number that is pulled towards a target."""

    averaged = ("point",)

    def __init__(self, target: float) -> None:
        self.target = target
        self.point = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.point.weight)
        self.networks = {"point": self.point}
        self.optimizers = {"point": torch.optim.SGD(self.point.parameters())}

    def step(self, step: int) -> dict[str, float]:
        loss = (self.point.weight - self.target).square().sum()
        self.optimizers["point"].zero_grad()
        loss.backward()
        self.optimizers["point"].step()
        return {"loss": loss.item(), "gradient": 1e9}


def test_training_stops_when_the_held_out_loss_rises_and_the_best_is_kept(tmp_path: Path) -> None:
    """Trained towards 1, judged at 0.5: the weights near 0.5 are kept, the rest is not trained."""
    run = Run(tmp_path, Point(1.0), SETTINGS)
    outcome = train_watched(run, Point(0.5), RULE)
    assert outcome is not None
    assert outcome.best < outcome.before
    assert run.step == outcome.best_step + RULE.every * RULE.patience < SETTINGS.steps
    kept = best_weights(tmp_path)["weight"].item()
    assert (kept - 0.5) ** 2 == pytest.approx(outcome.best, abs=1e-4)


def test_weights_of_the_start_are_kept_when_nothing_helps(tmp_path: Path) -> None:
    """Trained away from where the judge is."""
    run = Run(tmp_path, Point(1.0), SETTINGS)
    outcome = train_watched(run, Point(-1.0), RULE)
    assert outcome is not None and outcome.best_step == 0
    assert best_weights(tmp_path)["weight"].item() == 0


def test_without_held_out_utterances_the_last_weights_are_kept(tmp_path: Path) -> None:
    """All steps are made."""
    run = Run(tmp_path, Point(1.0), SETTINGS)
    assert train_watched(run, None, RULE) is None
    assert run.step == SETTINGS.steps
    assert best_weights(tmp_path)["weight"].item() == pytest.approx(1.0, abs=0.01)


def test_judging_changes_no_weight() -> None:
    """The judge's network holds what it was given, whatever it computed."""
    judge = Point(3.0)
    weights = {"weight": torch.full((1, 1), 0.25)}
    loss = held_out_loss(judge, weights, "point", 3)
    assert loss == pytest.approx(2.75**2)
    assert judge.point.weight.item() == 0.25


@pytest.mark.parametrize("at", [0, 3, 5, 12])
def test_killed_run_comes_to_the_same_end(tmp_path: Path, at: int) -> None:
    """Stopped before a step and started again, history and weights are those of one run."""
    whole = train_watched(Run(tmp_path / "whole", Point(1.0), SETTINGS), Point(0.5), RULE)
    run = Run(tmp_path / "cut", Point(1.0), SETTINGS)
    run.stage.step = _stop_at(run, at)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train_watched(run, Point(0.5), RULE)
    cut = train_watched(Run(tmp_path / "cut", Point(1.0), SETTINGS), Point(0.5), RULE)
    assert cut == whole
    first, second = (best_weights(tmp_path / name)["weight"] for name in ("whole", "cut"))
    assert torch.equal(first, second)


def _stop_at(run: Run, at: int) -> Callable[[int], dict[str, float]]:
    step = run.stage.step

    def stopping(number: int) -> dict[str, float]:
        if number == at:
            raise KeyboardInterrupt
        return dict(step(number))

    return stopping
