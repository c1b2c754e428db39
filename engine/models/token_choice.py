"""`engine.sampling` as a network, for devices where logits should not come to the host.

The same order, quirks included: the penalty covers the prompt, top-p comes before the temperature,
ties with the last score that is kept stay, the arg max that may end a sentence is that of the
penalised logits, and logits that are not finite are told. Noise is an input, so what is drawn is
what the host would draw; history is a mask of the tokens seen. Every row has parameters of its own,
as tensors: one graph for all requests.

Shapes: B rows, V vocabulary; the last id is the end of the sentence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_MIN_TEMPERATURE = 1e-5


class TokenChoice(nn.Module):
    """Draws one token per row; see `engine.sampling.choose`."""

    def forward(
        self,
        logits: Tensor,
        noise: Tensor,
        seen: Tensor,
        may_end: Tensor,
        penalty: Tensor,
        top_p: Tensor,
        temperature: Tensor,
        top_k: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the token drawn and the likeliest one, int64 [B], and if they mean anything.

        The last, bool [B], is false where a logit is NaN or infinite, but for single -inf.

        Args:
            logits: float32 [B, V] as the network gave them.
            noise: float32 [B, V], Exp(1).
            seen: bool [B, V], the tokens of prompt and sentence so far.
            may_end: bool [B], false for the first steps of a sentence.
            penalty: float32 [B], as are `top_p` and `temperature`.
            top_k: int64 [B], from 1 on.
        """
        row = _penalized(_without_end(logits, may_end), seen, penalty[:, None])
        scores = row / temperature.clamp(min=_MIN_TEMPERATURE)[:, None]
        scores = torch.where(_nucleus(row, top_p[:, None]), scores, -math.inf)
        ordered = scores.topk(scores.shape[1]).values
        last = top_k.clamp(1, scores.shape[1])[:, None] - 1
        pivot = ordered.gather(1, last)
        weights = torch.where(scores >= pivot, torch.exp(scores - ordered[:, :1]), 0.0)
        drawn = (weights / weights.sum(1, keepdim=True) / noise).argmax(1)
        return drawn, row.argmax(1), _is_finite(row)


def _without_end(logits: Tensor, may_end: Tensor) -> Tensor:
    is_end = torch.arange(logits.shape[1], device=logits.device) == logits.shape[1] - 1
    return torch.where(is_end[None, :] & ~may_end[:, None], -math.inf, logits)


def _is_finite(row: Tensor) -> Tensor:
    # Comparisons are false for NaN in every runtime; what a maximum makes of it differs.
    most = torch.finfo(row.dtype).max
    return (row <= most).all(1) & (row >= -most).any(1)


def _penalized(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    scaled = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, scaled, logits)


def _nucleus(row: Tensor, top_p: Tensor) -> Tensor:
    """Return which tokens stay, bool [B, V]; the likeliest always does."""
    ordered = row.topk(row.shape[1]).values
    weights = torch.exp(ordered - ordered[:, :1])
    within = torch.cumsum(weights / weights.sum(1, keepdim=True), 1) <= top_p
    last = within.sum(1, keepdim=True).clamp(min=1) - 1
    return (row >= ordered.gather(1, last)) | (top_p >= 1.0)
