"""Stage 4: the prior encoder learns the tokens that T2S gives.

The acoustic stage hears tokens as the quantizer found them in recordings. T2S gives more probable
ones, and what the acoustic model makes of those is less clear. Here the prior encoder learns to say
with T2S's tokens (`own_tokens`) what it says with a recording's: the statistics of the network as
it was, given the recording's tokens, are the target. No sound is made, so a step is cheap, and flow
and decoder stay as they are, so nothing is lost of how the voice sounds.

    recording's tokens, phonemes, style -> prior as it was -> statistics (target)
    T2S's tokens,       phonemes, style -> prior           -> statistics
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.errors import InvalidParameter
from engine.model_config import AcousticConfig
from engine.models.acoustic import AcousticNetwork
from engine.models.prior import PriorOutput
from engine.models.spectrogram import batch_spectrogram
from engine.train import losses
from engine.train.batches import AcousticBatch, AcousticShape, Corpus, acoustic_batch, generator
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import Array

_LOG_STD_WEIGHT = 0.3
_SOURCE_STREAM = 5  # beside the batch's own stream of the same step


@dataclass(frozen=True, slots=True)
class JointSettings:
    """Sizes and weights of the stage.

    Attributes:
        recorded_share: Of the steps, the recording's own tokens: what was learnt of them stays.
        guide_weight: Frames attend to the phoneme being spoken, where it is known.
    """

    batch_size: int = 12
    max_frames: int = 200
    reference_frames: int = 150
    recorded_share: float = 0.15
    guide_weight: float = 0.2
    autocast: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.recorded_share < 1:
            raise InvalidParameter("recorded_share", self.recorded_share, "0 to below 1")


class JointStage:
    """See the module docstring; a `Stage` of the loop.

    Args:
        weights: Of the acoustic network, to start from and to be taught by.
        others: Tokens of the same utterances from elsewhere, int64 [T] by id, a mapping for each
            source; an utterance that a source lacks keeps its own.
    """

    averaged: tuple[str, ...] = ("acoustic",)

    def __init__(
        self,
        config: AcousticConfig,
        settings: JointSettings,
        loop: LoopSettings,
        corpus: Corpus,
        weights: Mapping[str, Tensor],
        others: Sequence[Mapping[str, Array]],
    ) -> None:
        self.config, self.settings, self.loop = config, settings, loop
        self.recorded = corpus
        self.others = [retold(corpus, tokens) for tokens in others]
        self.network, self.before = AcousticNetwork(config), AcousticNetwork(config)
        for network in (self.network, self.before):
            network.load_state_dict(weights, strict=False)
            network.requires_grad_(False)
        self.before.eval()
        self.network.prior.requires_grad_(True)
        self.parameters = list(self.network.prior.parameters())
        self.shape = AcousticShape(
            config.hop,
            config.sample_rate_hz,
            settings.batch_size,
            settings.max_frames,
            settings.reference_frames,
        )
        self.networks: Mapping[str, nn.Module] = {"acoustic": self.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "acoustic": torch.optim.AdamW(self.parameters, betas=(0.9, 0.98), weight_decay=0.01)
        }

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        rng = generator(self.loop.seed, step)
        batch = acoustic_batch(self.recorded, self.shape, rng)
        terms = self.losses(batch, self._tokens(step, batch))
        total = terms["statistics"] + self.settings.guide_weight * terms["guide"]
        total.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizers.values(), self.parameters, self.loop.max_gradient)
        return {name: value.item() for name, value in terms.items()} | {"gradient": norm}

    def _tokens(self, step: int, batch: AcousticBatch) -> Tensor:
        """Return tokens for the batch's utterances, cut alike, of the source drawn for the step."""
        draw = generator(self.loop.seed + _SOURCE_STREAM, step)
        if draw.random() < self.settings.recorded_share:
            return batch.tokens
        source = self.others[int(draw.integers(len(self.others)))]
        return acoustic_batch(source, self.shape, generator(self.loop.seed, step)).tokens

    def losses(self, batch: AcousticBatch, tokens: Tensor) -> dict[str, Tensor]:
        """Return how far the statistics of `tokens` are from the target, and the guide term."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            with torch.no_grad():
                style = self._style(batch)
                target = _statistics(self.before, batch, style, batch.tokens)
            found = _statistics(self.network, batch, style, tokens)
        away = found.mean.float() - target.mean.float()
        spread = found.log_std.float() - target.log_std.float()
        error = away.abs() + 0.5 * away.square() + _LOG_STD_WEIGHT * spread.abs()
        return {
            "statistics": losses.masked_mean(error, batch.mask),
            "guide": losses.attention_error(found.attention.float(), batch.place),
        }

    def _style(self, batch: AcousticBatch) -> Tensor:
        reference = batch_spectrogram(batch.reference, n_fft=self.config.n_fft, hop=self.config.hop)
        speaker = batch.speaker if self.config.speaker_dim else None
        style: Tensor = self.before.style(reference, speaker)
        return style


def _statistics(
    network: AcousticNetwork, batch: AcousticBatch, style: Tensor, tokens: Tensor
) -> PriorOutput:
    memory = network.encode_text(batch.phonemes, style, batch.text_mask)
    return network.prior_stats(tokens, memory, batch.mask, batch.text_mask)


def retold(corpus: Corpus, tokens: Mapping[str, Array]) -> Corpus:
    """Return the utterances, in the same order, with other tokens where there are any."""
    return Corpus(
        [replace(item, tokens=tokens.get(item.entry.id, item.tokens)) for item in corpus.items]
    )
