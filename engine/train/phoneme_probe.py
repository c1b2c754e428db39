"""Which of our phonemes is heard at each token: a probe on SSL features, trained on recordings.

Spectra and features may be near and a consonant still be taken for its neighbour. A network that
tells phonemes with their tones apart says which of the differences matter: the acoustic stage asks
it what it hears in its own sound (`engine.train.listener`).

Shapes: B rows, S channels, F frames, T = F / 2 tokens, K phonemes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import CheckpointError
from engine.model_config import AcousticConfig
from engine.train.batches import Corpus, Item, generator
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import FRAMES_PER_TOKEN, Array

_KERNEL = 5


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Sizes of the stage."""

    batch_size: int = 24
    window: int = 50  # tokens of a row
    hidden: int = 256
    dropout: float = 0.15
    noise: float = 0.15  # on the features, of their deviation
    label_smoothing: float = 0.05  # alignments are a frame off here and there
    autocast: bool = True  # bf16 where the CPU has it


class PhonemeProbe(nn.Module):
    """SSL features [B, S, F] -> scores [B, K, F / 2]."""

    def __init__(self, dim: int, hidden: int, num_phonemes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.input = nn.Conv1d(dim, hidden, _KERNEL, padding=_KERNEL // 2)
        self.frames = nn.Conv1d(hidden, hidden, _KERNEL, padding=_KERNEL // 2)
        self.down = nn.Conv1d(hidden, hidden, FRAMES_PER_TOKEN, stride=FRAMES_PER_TOKEN)
        self.tokens = nn.Conv1d(hidden, hidden, _KERNEL, padding=_KERNEL // 2)
        self.out = nn.Conv1d(hidden, num_phonemes, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """See the class; an odd frame is dropped."""
        x = self.norm(features.transpose(1, 2)).transpose(1, 2)
        x = self.dropout(functional.gelu(self.input(x)))
        x = functional.gelu(self.down(x + self.dropout(functional.gelu(self.frames(x)))))
        scores: Tensor = self.out(x + self.dropout(functional.gelu(self.tokens(x))))
        return scores


class ProbeStage:
    """Learns the phonemes of a corpus's recordings; a `Stage` of the loop.

    Raises:
        CheckpointError: No utterance of the corpus has an alignment.
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self, config: AcousticConfig, settings: ProbeSettings, loop: LoopSettings, corpus: Corpus
    ) -> None:
        self.settings, self.loop = settings, loop
        self.items = [item for item in corpus.items if item.place is not None]
        if not self.items:
            raise CheckpointError("no utterance of the corpus has a teacher's alignment")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self.probe = PhonemeProbe(
                config.ssl_dim, settings.hidden, config.num_phonemes, settings.dropout
            )
        self.parameters = list(self.probe.parameters())
        self.networks: Mapping[str, nn.Module] = {"probe": self.probe}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "probe": torch.optim.AdamW(self.parameters, betas=(0.9, 0.99), weight_decay=0.02)
        }

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        rng = generator(self.loop.seed, step)
        features, phonemes = self._batch(rng)
        features = features + self.settings.noise * features.std() * torch.randn_like(features)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            scores = self.probe(features)
        known = phonemes >= 0
        error = functional.cross_entropy(
            scores.float(), phonemes, ignore_index=-1, label_smoothing=self.settings.label_smoothing
        )
        error.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizers.values(), self.parameters, self.loop.max_gradient)
        right = (scores.argmax(dim=1) == phonemes)[known].float().mean()
        return {"error": error.item(), "right": right.item(), "gradient": norm}

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw rows: features [B, S, 2W], and the phoneme of each token, int64 [B, W], -1 none."""
        window, settings = self.settings.window, self.settings
        chosen = [self.items[i] for i in rng.integers(len(self.items), size=settings.batch_size)]
        channels = chosen[0].features.ssl.shape[1]
        features = np.zeros((len(chosen), FRAMES_PER_TOKEN * window, channels), np.float32)
        phonemes = np.full((len(chosen), window), -1, np.int64)
        for row, item in enumerate(chosen):
            told = spoken(item)
            count = min(window, len(told))
            start = int(rng.integers(len(told) - count + 1))
            frames = slice(FRAMES_PER_TOKEN * start, FRAMES_PER_TOKEN * (start + count))
            features[row, : FRAMES_PER_TOKEN * count] = item.features.ssl[frames]
            phonemes[row, :count] = told[start : start + count]
        return torch.from_numpy(features).transpose(1, 2), torch.from_numpy(phonemes)


def spoken(item: Item) -> Array:
    """Return the phoneme of each token, int64 [T], of an utterance with an alignment."""
    assert item.place is not None
    count = min(len(item.place), len(item.features.ssl) // FRAMES_PER_TOKEN)
    phonemes: Array = item.features.phoneme_ids[item.place[:count]]
    return phonemes
