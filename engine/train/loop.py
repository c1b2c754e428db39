"""The loop every stage shares: steps, learning rate, EMA, checkpoints, log. Resumes to the step.

A step's batch and noise are functions of (seed, step), so a checkpoint needs no state of any
generator or sampler, and a killed run that is started again takes the same steps.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.errors import CheckpointError, InvalidParameter

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how fast a stage trains."""

    steps: int = 2000
    learning_rate: float = 5e-4
    final_rate: float = 5e-5  # reached at `steps`, exponentially
    warmup_steps: int = 100
    ema: float = 0.999
    max_gradient: float = 5.0
    seed: int = 1
    save_minutes: float = 3.0
    log_every: int = 20

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidParameter("steps", self.steps, "at least 1")
        if not 0 < self.final_rate <= self.learning_rate:
            raise InvalidParameter("final_rate", self.final_rate, "in (0, learning_rate]")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        share = min(1.0, step / self.steps)
        return float(warm * self.learning_rate * (self.final_rate / self.learning_rate) ** share)


class Stage(Protocol):
    """What a stage gives the loop.

    `step` runs forward and backward of one batch, steps its optimizers and returns figures.
    """

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is saved."""
        ...

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Saved too; the loop sets their rates."""
        ...

    @property
    def averaged(self) -> tuple[str, ...]:
        """Names of the networks that get an EMA copy."""
        ...

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        ...


class Run:
    """A run folder and where it stands."""

    def __init__(self, folder: Path, stage: Stage, settings: LoopSettings) -> None:
        self.folder = folder
        self.stage = stage
        self.settings = settings
        self.step = 0
        self.averages = {
            name: {k: v.detach().clone() for k, v in stage.networks[name].state_dict().items()}
            for name in stage.averaged
        }
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._restore()

    def train(
        self,
        *,
        max_minutes: float = math.inf,
        until: int | None = None,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Run until `settings.steps`, or until time is up; leaves a checkpoint either way.

        Args:
            until: Stop after this step; the learning rate still goes by `settings.steps`.
            on_step: Told how many steps are done.
        """
        settings = self.settings
        last = settings.steps if until is None else min(until, settings.steps)
        started = saved = time.monotonic()
        figures: dict[str, list[float]] = {}
        with (self.folder / METRICS).open("a", encoding="utf-8") as log:
            while self.step < last and time.monotonic() - started < 60 * max_minutes:
                for optimizer in self.stage.optimizers.values():
                    for group in optimizer.param_groups:
                        group["lr"] = settings.rate(self.step) * group.get("rate_factor", 1.0)
                torch.manual_seed(settings.seed * 1_000_003 + self.step)
                for name, value in self.stage.step(self.step).items():
                    figures.setdefault(name, []).append(value)
                self._average()
                self.step += 1
                on_step(self.step)
                if self.step % settings.log_every == 0:
                    line = {k: round(sum(v) / len(v), 5) for k, v in figures.items()}
                    seconds = round(time.monotonic() - started, 1)
                    log.write(json.dumps({"step": self.step, "seconds": seconds, **line}) + "\n")
                    log.flush()
                    logger.info("step %d %s", self.step, line)
                    figures = {}
                if time.monotonic() - saved > 60 * settings.save_minutes:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        tensors: dict[str, Tensor] = {"step": torch.tensor(self.step)}
        for name, network in self.stage.networks.items():
            for key, value in network.state_dict().items():
                tensors[f"network.{name}.{key}"] = value.detach().clone().contiguous()
        for name, average in self.averages.items():
            for key, value in average.items():
                tensors[f"average.{name}.{key}"] = value.contiguous()
        for name, optimizer in self.stage.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value).clone()
        temporary = self.folder / f"{CHECKPOINT}.part"
        save_file(tensors, temporary)
        temporary.replace(self.folder / CHECKPOINT)

    def _restore(self) -> None:
        tensors = load_file(self.folder / CHECKPOINT)
        self.step = int(tensors["step"])
        for name, network in self.stage.networks.items():
            _load(network, under(tensors, f"network.{name}."), self.folder / CHECKPOINT)
        for name in self.averages:
            self.averages[name] = under(tensors, f"average.{name}.")
        for name, optimizer in self.stage.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in under(tensors, f"optimizer.{name}.").items():
                index, field = key.split(".", 1)
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        logger.info("%s: going on at step %d", self.folder, self.step)

    @torch.no_grad()
    def _average(self) -> None:
        # Young averages forget faster, or the first steps would stay in them for long.
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, average in self.averages.items():
            for key, value in self.stage.networks[name].state_dict().items():
                if value.dtype.is_floating_point:
                    average[key].lerp_(value, 1 - decay)
                else:
                    average[key].copy_(value)


def load_average(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the averaged weights of network `name` of a run, or its own where none are kept.

    Raises:
        CheckpointError: If the run has no checkpoint or no such network.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        raise CheckpointError(f"{folder} has no {CHECKPOINT}: train this stage first")
    tensors = load_file(path)
    weights = under(tensors, f"average.{name}.") or under(tensors, f"network.{name}.")
    if not weights:
        raise CheckpointError(f"{path} holds no network {name!r}: is it the run of another stage?")
    return weights


def clip_and_step(
    optimizers: Iterable[torch.optim.Optimizer], parameters: list[nn.Parameter], max_norm: float
) -> float:
    """Clip the gradient, step unless it is not finite, and return its norm before clipping."""
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    finite = bool(torch.isfinite(norm))
    if not finite:
        logger.warning("a gradient is not finite: step skipped")
    for optimizer in optimizers:
        if finite:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(norm)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _load(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the config of this run; use another folder: {error}"
        ) from error
