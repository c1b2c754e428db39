"""Numpy weights of a pack into torch modules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.errors import CheckpointError
from engine.types import Array


def to_tensors(weights: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return the arrays as tensors, floating-point ones as float32."""
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    return {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def load_weights(module: nn.Module, weights: Mapping[str, Array], part: str) -> None:
    """Copy weights into a module; every name and shape must match.

    Args:
        part: What the module is, for the message.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape.
    """
    try:
        # Batch-norm counters are not stored; a plain dict has no version, so torch fills them in.
        module.load_state_dict(to_tensors(weights))
    except RuntimeError as error:
        raise CheckpointError(
            f"the pack's {part} weights do not fit its numbers; import the model again ({error})"
        ) from None
