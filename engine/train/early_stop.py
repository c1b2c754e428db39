"""Training that stops when it no longer helps: a loss on utterances that are not trained on.

The held-out loss is measured before the first step and after every few; the best weights are kept,
those of step 0 included, and training ends when several measurements in a row were no better.
What was measured is in a file, so a run that is killed goes on and comes to the same end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.train.loop import Run, Stage

HISTORY = "held_out.jsonl"
BEST = "best.safetensors"
# Figures of a step that are no part of what is to become small.
_NOT_LOSSES = frozenset(
    "gradient accuracy guide voicing prior_voicing judges adversarial feature unit".split()
)


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """When to measure and when to stop."""

    every: int = 25  # steps
    patience: int = 3  # measurements without a better one
    batches: int = 4  # of a measurement


def held_out_loss(stage: Stage, weights: Mapping[str, Tensor], name: str, batches: int) -> float:
    """Return the mean loss of `batches` fixed batches under the given weights.

    A stage only knows how to train, so it trains at rate zero, which changes nothing.

    Args:
        stage: Of the held-out utterances.
        weights: Of its network `name`.
    """
    stage.networks[name].load_state_dict(weights)
    for optimizer in stage.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 0.0
    total = 0.0
    for index in range(batches):
        torch.manual_seed(index)
        figures = stage.step(index)
        total += sum(value for key, value in figures.items() if key not in _NOT_LOSSES)
    return total / batches


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training came to: held-out loss by step, and the best step."""

    losses: Mapping[int, float]
    best_step: int

    @property
    def before(self) -> float:
        """The loss before the first step."""
        return self.losses[0]

    @property
    def best(self) -> float:
        """The smallest loss."""
        return self.losses[self.best_step]


def train_watched(
    run: Run,
    check: Stage | None,
    rule: EarlyStop,
    *,
    on_step: Callable[[int], None] = lambda step: None,
) -> Outcome | None:
    """Train until the rule or the run's settings say stop; the best weights are in `BEST`.

    Args:
        check: The stage on held-out utterances; None trains to the end and keeps the last.
    """
    (name,) = run.stage.averaged
    if check is None:
        run.train(on_step=on_step)
        _save(run, name)
        return None
    losses = _read(run.folder)
    while True:
        is_due = run.step % rule.every == 0 or run.step >= run.settings.steps
        if is_due and run.step not in losses:
            loss = held_out_loss(check, run.averages[name], name, rule.batches)
            losses[run.step] = round(loss, 5)
            if losses[run.step] <= min(losses.values()):
                _save(run, name)
            _append(run.folder, run.step, losses[run.step])
        if run.step >= run.settings.steps or _is_over(losses, rule):
            return Outcome(losses, min(losses, key=lambda step: losses[step]))
        run.train(until=(run.step // rule.every + 1) * rule.every, on_step=on_step)


def best_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights `train_watched` kept."""
    return load_file(folder / BEST)


def _is_over(losses: Mapping[int, float], rule: EarlyStop) -> bool:
    steps = sorted(losses)
    best = min(steps, key=lambda step: losses[step])
    return len(steps) - 1 - steps.index(best) >= rule.patience


def _save(run: Run, name: str) -> None:
    temporary = run.folder / f"{BEST}.part"
    save_file({k: v.contiguous() for k, v in run.averages[name].items()}, temporary)
    temporary.replace(run.folder / BEST)


def _read(folder: Path) -> dict[int, float]:
    path = folder / HISTORY
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {int(row["step"]): float(row["loss"]) for row in rows}


def _append(folder: Path, step: int, loss: float) -> None:
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\n")
