"""Stage 1: the projection and the codebook that turn SSL features into semantic tokens.

The encoder is frozen. A projection to 25 Hz is trained to tell the teacher's phoneme in each half
of a token, the pitch relative to the speaker's and the loudness relative to the utterance's; then
its columns are
clustered, and projection and codebook are trained together with the quantiser in the way. Half of
each batch are copies with shifted pitch, formants and spectrum under the same labels, which makes
the tokens say what was spoken and how, not who spoke.

The codebook follows by moving averages (van den Oord et al. 2017, appendix A.1); a row that few
columns choose is put on a random column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import AcousticConfig
from engine.models.quantizer import Quantizer
from engine.train.alignment import SILENCE, labels, segments
from engine.train.batches import Corpus, Item, generator
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import Array

Pitches = Mapping[str, float]  # speaker -> mean log F0


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Weights and sizes of the stage."""

    batch_tokens: int = 2048
    window: int = 32  # tokens that are trained on in a run, for networks that see context
    free_steps: int = 300  # before the codebook is made and used
    rate_weight: float = 0.03  # per nat a column carries in those steps: what is not asked for goes
    decay: float = 0.98
    autocast: bool = True  # bf16 where the CPU has it
    commitment: float = 0.25
    pitch_weight: float = 3.0
    energy_weight: float = 0.5
    dead_below: float = 0.3  # expected uses per batch under which a row is moved


@dataclass(frozen=True, slots=True, eq=False)
class TokenData:
    """Training columns: one row per 40 ms token.

    Shapes: ssl float16 [N, 2S]; phoneme int64 [N, 2], of each half, -1 unknown; pitch float32 [N],
    log of F0 over the speaker's, nan where unvoiced; energy float32 [N], log over the utterance's
    mean.
    """

    ssl: Array
    phoneme: Array
    pitch: Array
    energy: Array
    num_phonemes: int

    @classmethod
    def join(cls, parts: Sequence[TokenData]) -> TokenData:
        """Concatenate utterances."""
        return cls(
            ssl=np.concatenate([part.ssl for part in parts]),
            phoneme=np.concatenate([part.phoneme for part in parts]),
            pitch=np.concatenate([part.pitch for part in parts]),
            energy=np.concatenate([part.energy for part in parts]),
            num_phonemes=parts[0].num_phonemes,
        )


def pair_frames(ssl: Array) -> Array:
    """Return [T, 2S] of features [2T, S]: the two frames a token is made from, channels inside.

    A convolution of kernel and stride 2 over [S, 2T] is a matrix product with these rows.
    """
    length = len(ssl) // 2 * 2
    return ssl[:length].reshape(length // 2, 2 * ssl.shape[1])


class TokenHeads(nn.Module):
    """What is read from a token, and nothing more: one linear layer each."""

    def __init__(self, dim: int, num_phonemes: int) -> None:
        super().__init__()
        self.phoneme = nn.Linear(dim, 2 * num_phonemes)
        self.pitch = nn.Linear(dim, 1)
        self.energy = nn.Linear(dim, 1)

    def phonemes(self, columns: Tensor) -> Tensor:
        """Return scores [N, K, 2] of the phoneme in each half of the tokens [N, C]."""
        scores: Tensor = self.phoneme(columns)
        return scores.reshape(len(columns), -1, 2)


class TokenStage:
    """See the module docstring; a `Stage` of the loop."""

    averaged: tuple[str, ...] = ()

    def __init__(
        self, config: AcousticConfig, settings: TokenSettings, loop: LoopSettings, data: TokenData
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.data = data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self.quantizer = Quantizer(config)
            self.heads = TokenHeads(config.codebook_dim, data.num_phonemes)
        self.networks: Mapping[str, nn.Module] = {"quantizer": self.quantizer, "heads": self.heads}
        self.parameters = [*self.quantizer.parameters(), *self.heads.parameters()]
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "tokens": torch.optim.AdamW(self.parameters, betas=(0.9, 0.99), weight_decay=0.01)
        }

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        rng = generator(self.loop.seed, step)
        rows = self._rows(rng, self.settings.batch_tokens)
        if step == self.settings.free_steps:
            self._cluster(rng)
        columns = self.project(rows)
        terms: dict[str, Tensor] = {}
        tokens: Tensor | None = None
        if step >= self.settings.free_steps:
            tokens = self.quantizer.nearest(columns.t().unsqueeze(0))[0]
            chosen = self.quantizer.codebook[tokens]
            terms["commitment"] = self.settings.commitment * (columns - chosen).square().mean()
            passed = columns + (chosen - columns).detach()
        else:
            # A Gaussian channel (Alemi et al. 2017): what the heads do not pay for is not sent,
            # else the clusters would follow it.
            terms["rate"] = self.settings.rate_weight * 0.5 * columns.square().sum(dim=1).mean()
            passed = columns + torch.randn_like(columns)
        terms |= self._terms(passed, rows)
        total = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        clip_and_step([self.optimizers["tokens"]], self.parameters, self.loop.max_gradient)
        figures = {name: value.item() for name, value in terms.items()}
        if tokens is not None:
            figures["perplexity"] = self._update(columns.detach(), tokens, rng)
        return figures

    def _rows(self, rng: np.random.Generator, count: int) -> Array:
        """Draw about `count` rows of the data in runs of `window`: int64 [B, window]."""
        window = min(self.settings.window, len(self.data.phoneme))
        last = len(self.data.phoneme) - window
        starts = rng.integers(last + 1, size=max(1, count // window))
        return starts[:, None] + np.arange(window)

    def project(self, rows: Array) -> Tensor:
        """Return the projected columns [B * W, C] of runs of rows [B, W] of the data."""
        frames = torch.from_numpy(self.data.ssl[rows].astype(np.float32))
        runs, window, pair = frames.shape
        ssl = frames.reshape(runs, 2 * window, pair // 2).transpose(1, 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            columns = self.quantizer.columns(ssl)
        return columns.float().transpose(1, 2).flatten(0, 1)

    def _terms(self, columns: Tensor, rows: Array) -> dict[str, Tensor]:
        rows = rows.reshape(-1)
        phoneme = torch.from_numpy(self.data.phoneme[rows])
        pitch = torch.from_numpy(self.data.pitch[rows])
        energy = torch.from_numpy(self.data.energy[rows])
        voiced = ~torch.isnan(pitch)
        scores = self.heads.phonemes(columns)
        pitch_error = (self.heads.pitch(columns)[:, 0] - pitch)[voiced].abs().mean()
        energy_error = (self.heads.energy(columns)[:, 0] - energy).abs().mean()
        return {
            "phoneme": functional.cross_entropy(scores, phoneme, ignore_index=-1),
            "pitch": self.settings.pitch_weight * pitch_error,
            "energy": self.settings.energy_weight * energy_error,
        }

    @torch.no_grad()
    def _cluster(self, rng: np.random.Generator) -> None:
        """Set the codebook by k-means over a sample of the columns."""
        columns = self.project(self._rows(rng, 40_000))
        size = len(self.quantizer.codebook)
        book = columns[torch.from_numpy(rng.permutation(len(columns))[:size])].clone()
        for _ in range(15):
            self.quantizer.codebook.copy_(book)
            tokens = self.quantizer.nearest(columns.t().unsqueeze(0))[0]
            count = torch.bincount(tokens, minlength=size).float()
            total = torch.zeros_like(book).index_add_(0, tokens, columns)
            mean = total / count.clamp(min=1)[:, None]
            spare = columns[torch.from_numpy(rng.integers(len(columns), size=size))]
            book = torch.where((count > 0)[:, None], mean, spare)
        share = count / len(columns) * self.settings.batch_tokens
        self.quantizer.codebook.copy_(book)
        self.quantizer.cluster_size.copy_(share.clamp(min=1))
        self.quantizer.codebook_sum.copy_(book * share.clamp(min=1)[:, None])
        self.quantizer.initialized.fill_(1.0)

    @torch.no_grad()
    def _update(self, columns: Tensor, tokens: Tensor, rng: np.random.Generator) -> float:
        """Move the rows towards the columns that chose them; return the batch's perplexity."""
        quantizer, decay = self.quantizer, self.settings.decay
        count = torch.bincount(tokens, minlength=len(quantizer.codebook)).float()
        total = torch.zeros_like(quantizer.codebook).index_add_(0, tokens, columns)
        quantizer.cluster_size.lerp_(count, 1 - decay)
        quantizer.codebook_sum.lerp_(total, 1 - decay)
        quantizer.codebook.copy_(
            quantizer.codebook_sum / quantizer.cluster_size.clamp(min=1e-3)[:, None]
        )
        dead = torch.nonzero(quantizer.cluster_size < self.settings.dead_below)[:, 0]
        if len(dead):
            spare = columns[torch.from_numpy(rng.integers(len(columns), size=len(dead)))]
            quantizer.codebook[dead] = spare
            quantizer.codebook_sum[dead] = spare
            quantizer.cluster_size[dead] = 1.0
        share = count[count > 0] / count.sum()
        return float(torch.exp(-(share * share.log()).sum()))


def token_data(
    item: Item, ssl: Array, stretch: float, inventory: Mapping[str, int], pitches: Pitches
) -> TokenData:
    """Return the training columns of one utterance, or of a stretched copy of it.

    Args:
        item: Labels come from it.
        ssl: [2T', S] of the wave that was encoded.
        stretch: Its length over that of the item's wave.
        inventory: Teacher phoneme -> class.
        pitches: Mean log F0 of every speaker.
    """
    rows = pair_frames(ssl)
    middle = (np.arange(len(rows)) + 0.5) / stretch  # in tokens of the item
    where = np.minimum(middle.astype(np.int64), item.num_frames // 2 - 1)
    features = item.features
    wave = features.wave[: item.num_frames // 2 * 2 * (len(features.wave) // item.num_frames)]
    power = np.square(wave.astype(np.float32) / 32767).reshape(item.num_frames // 2, -1).mean(1)
    energy = np.log(np.sqrt(power) + 1e-3)
    mean_pitch = pitches[item.entry.speaker]
    log_pitch = np.log(features.hz).reshape(-1, 2).mean(1) - mean_pitch
    voiced = features.voiced.reshape(-1, 2).any(1)
    pitch = np.where(voiced, log_pitch, np.nan)
    halves = labels(item.entry, 2 * len(rows), 0.02, stretch) if item.entry.symbols else []
    return TokenData(
        ssl=rows,
        phoneme=np.array(
            [inventory[name] for name in halves] or [-1] * (2 * len(rows)), np.int64
        ).reshape(-1, 2),
        pitch=pitch[where].astype(np.float32),
        energy=(energy - energy.mean())[where].astype(np.float32),
        num_phonemes=len(inventory),
    )


def speaker_pitches(corpus: Corpus) -> dict[str, float]:
    """Return the mean log F0 of every speaker."""
    table = {}
    for name, items in corpus.by_speaker.items():
        voiced = [np.log(i.features.hz[i.features.voiced.astype(bool)]) for i in items]
        together = np.concatenate(voiced)
        table[name] = float(together.mean()) if len(together) else math.log(150.0)
    return table


def inventory(corpus: Corpus) -> dict[str, int]:
    """Return the teacher phonemes of a corpus, numbered."""
    names = {name for item in corpus.items for name in segments(item.entry)[0]}
    return {name: index for index, name in enumerate(sorted(names | {SILENCE}))}
