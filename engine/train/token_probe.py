"""Which phoneme is spoken at each token: a probe on tokens alone.

It sees four tokens to either side and so has to go by what is spoken there, not by which words are
likely. T2S asks it what it hears in its own tokens (`engine.train.self_listening`).

Shapes: B rows, T tokens, V token ids, D channels, K phonemes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import CheckpointError
from engine.train.batches import Corpus, generator, pad_ids
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import Array, IntArray

_KERNELS = (3, 3, 5)


@dataclass(frozen=True, slots=True)
class TokenProbeSettings:
    """Sizes of the stage."""

    batch_size: int = 32
    hidden: int = 192
    dropout: float = 0.1
    replaced: float = 0.06  # share of tokens drawn at random
    label_smoothing: float = 0.03


class TokenProbe(nn.Module):
    """Embedded tokens [B, T, D] -> scores [B, K, T]; tokens may be mixtures, see `embed`."""

    def __init__(
        self, num_tokens: int, hidden: int, num_phonemes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, hidden)
        self.layers = nn.ModuleList(
            nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2) for kernel in _KERNELS
        )
        self.out = nn.Conv1d(hidden, num_phonemes, 1)
        self.dropout = nn.Dropout(dropout)

    def embed(self, shares: Tensor) -> Tensor:
        """Return [B, T, D] of how much of each token there is, float [B, T, V]."""
        return shares @ self.embedding.weight

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """See the class; `mask` is float [B, 1, T], 0 beyond the end."""
        x = embedded.transpose(1, 2) * mask
        for layer in self.layers:
            x = (x + self.dropout(functional.gelu(layer(x)))) * mask
        scores: Tensor = self.out(x)
        return scores


class TokenProbeStage:
    """Learns the phonemes of utterances whose tokens are aligned; a `Stage` of the loop.

    Args:
        places: Utterance id -> phoneme spoken at each token, int64 [T], for each corpus; may lack
            utterances.

    Raises:
        CheckpointError: No utterance has an alignment.
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        num_tokens: int,
        num_phonemes: int,
        settings: TokenProbeSettings,
        loop: LoopSettings,
        corpora: Sequence[tuple[Corpus, Mapping[str, IntArray]]],
    ) -> None:
        self.num_tokens, self.settings, self.loop = num_tokens, settings, loop
        self.rows = [
            _labelled(item.tokens, item.features.phoneme_ids, places[item.entry.id])
            for corpus, places in corpora
            for item in corpus.items
            if item.entry.id in places
        ]
        if not self.rows:
            raise CheckpointError("no utterance of the corpus has a teacher's alignment")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self.probe = TokenProbe(num_tokens, settings.hidden, num_phonemes, settings.dropout)
        self.parameters = list(self.probe.parameters())
        self.networks: Mapping[str, nn.Module] = {"token_probe": self.probe}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "token_probe": torch.optim.AdamW(self.parameters, betas=(0.9, 0.99), weight_decay=0.02)
        }

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        rng = generator(self.loop.seed, step)
        chosen = [self.rows[i] for i in rng.integers(len(self.rows), size=self.settings.batch_size)]
        tokens = pad_ids([row[0] for row in chosen])
        phonemes = pad_ids([row[1] + 1 for row in chosen]) - 1  # -1 where padded
        mask = token_mask(torch.tensor([len(row[0]) for row in chosen]), tokens.shape[1])
        replaced = torch.rand(tokens.shape) < self.settings.replaced
        tokens = torch.where(replaced, torch.randint(self.num_tokens, tokens.shape), tokens)
        scores = self.probe(self.probe.embedding(tokens), mask[:, None])
        error = functional.cross_entropy(
            scores, phonemes, ignore_index=-1, label_smoothing=self.settings.label_smoothing
        )
        error.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizers.values(), self.parameters, self.loop.max_gradient)
        right = (scores.argmax(dim=1) == phonemes)[phonemes >= 0].float().mean()
        return {"error": error.item(), "right": right.item(), "gradient": norm}


def token_mask(lens: Tensor, length: int) -> Tensor:
    """Return float [B, length], 1 within each row of int64 [B] tokens."""
    return (torch.arange(length) < lens[:, None]).float()


def _labelled(tokens: Array, phoneme_ids: Array, place: IntArray) -> tuple[Array, Array]:
    """Return tokens and the phoneme of each, -1 unknown, both int64 [T]."""
    count = min(len(tokens), len(place))
    spoken = np.where(place[:count] >= 0, phoneme_ids[np.maximum(place[:count], 0)], -1)
    return tokens[:count], spoken
