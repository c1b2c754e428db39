"""Tokens that T2S would have given in place of a recording's, one for each of them.

The quantizer's tokens change with speaker and noise; T2S speaks the probable ones. To have both for
the same sound, T2S reads a recording's tokens and says at each place which token it would have put
there. What it says depends on the tokens before, so a second round reads the first round's in half
of the places: histories as at synthesis, still in step with the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.model_config import T2SConfig
from engine.models.t2s import T2S
from engine.train.batches import Item
from engine.types import Array, Sampling

ROUNDS = 2
_READ_BACK = 0.5  # of the places, the last round's token stands in the history


@torch.no_grad()
def own_tokens(
    network: T2S,
    config: T2SConfig,
    items: Sequence[Item],
    sampling: Sampling,
    *,
    seed: int = 1,
    on_item: Callable[[int], None] = lambda done: None,
) -> list[dict[str, Array]]:
    """Return for each round the tokens int64 [T] of every utterance that T2S has room for.

    Args:
        network: In eval mode; a T2S that takes no prompt.
        sampling: As at synthesis; `top_k` and `temperature` are used.
        seed: With an utterance's number the only source of chance.
    """
    rounds: list[dict[str, Array]] = [{} for _ in range(ROUNDS)]
    for number, item in enumerate(items):
        if 0 < len(item.tokens) < config.max_tokens:
            rng = np.random.default_rng((seed, number))
            history = item.tokens
            for tokens in rounds:
                said = draw_tokens(_logits(network, config, item, history), sampling, rng)
                tokens[item.entry.id] = said
                history = np.where(rng.random(len(said)) < _READ_BACK, said, item.tokens)
        on_item(number + 1)
    return rounds


def _logits(network: T2S, config: T2SConfig, item: Item, history: Array) -> Tensor:
    """Return [T, V - 1]: what stands at each place after `history`, int64 [T]; never the end."""
    phonemes = torch.from_numpy(item.features.phoneme_ids)[None]
    lengths = torch.tensor([phonemes.shape[1]]), torch.tensor([len(history)])
    bert = torch.zeros(1, config.bert_dim, phonemes.shape[1])
    tokens = torch.from_numpy(history)[None]
    logits = network.forward_train(phonemes, lengths[0], bert, tokens, lengths[1])
    return logits[0, : len(history), : config.eos]


def draw_tokens(logits: Tensor, sampling: Sampling, rng: np.random.Generator) -> Array:
    """Draw a token of each row's best `top_k`, int64 [T], of logits [T, V]."""
    values, choices = logits.topk(min(sampling.top_k, logits.shape[1]), dim=1)
    noise = torch.from_numpy(rng.gumbel(size=values.shape).astype(np.float32))
    chosen = (values / max(sampling.temperature, 1e-3) + noise).argmax(dim=1, keepdim=True)
    tokens: Array = choices.gather(1, chosen)[:, 0].numpy()
    return tokens
