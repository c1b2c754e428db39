"""Waveform decoders: the latent and the style -> samples.

Streaming contract of every decoder: F frames give exactly F * hop samples, and a frame's samples
depend on at most `halo_frames` frames each side, so windows that overlap by the halo join to the
very result of one whole decode.

Context is worth less the further a layer is from the latent: after the first of HiFi-GAN's stages,
a fifth of its work, 1.5 of 11 frames are still needed. So `HifiGanDecoder` drops, layer by layer,
what no wanted sample depends on: 22 frames of halo cost what 3.4 frames do. At a sentence's start
or end there is no context, nothing is dropped, and each convolution pads with zeros as in a whole
decode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import AcousticConfig, HifiGanConfig
from engine.models.layers import leaky, weight_normed

LAST_SLOPE = 0.01  # upstream models.py:467 @48b1a01: the library's default, all others are 0.1
EDGE_KERNEL = 7  # of the first and the last convolution


class Context(NamedTuple):
    """How many positions of a sequence are context only: at its start and at its end.

    Whole numbers; while a graph is exported, tensors int64 [1].
    """

    before: Any
    after: Any

    def upsampled(self, rate: int) -> Context:
        """Return the same stretch of time at `rate` times the positions."""
        return Context(self.before * rate, self.after * rate)


NO_CONTEXT = Context(0, 0)


# ([B, C, T], its context, positions needed each side) -> what is left of both.
Trim: TypeAlias = Callable[[Tensor, Context, int], tuple[Tensor, Context]]


def drop_context(x: Tensor, context: Context, needed: int) -> tuple[Tensor, Context]:
    """Drop the context beyond `needed` positions each side of [B, C, T]."""
    rest = Context(min(context.before, needed), min(context.after, needed))
    first, last = context.before - rest.before, context.after - rest.after
    return x[:, :, first : x.shape[2] - last], rest


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair with a residual."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            weight_normed(
                nn.Conv1d(
                    channels,
                    channels,
                    kernel,
                    dilation=dilation,
                    padding=dilation * (kernel - 1) // 2,
                )
            )
            for dilation in dilations
        )
        self.plain = nn.ModuleList(
            weight_normed(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2))
            for _ in dilations
        )
        self.reaches = [(dilation + 1) * (kernel - 1) // 2 for dilation in dilations]

    def forward(
        self, x: Tensor, context: Context, needed: int, trim: Trim
    ) -> tuple[Tensor, Context]:
        """Return [B, C, T] of [B, C, T], its context trimmed to `needed` positions each side."""
        reach = sum(self.reaches)
        for dilated, plain, own in zip(self.dilated, self.plain, self.reaches, strict=True):
            x, context = trim(x, context, needed + reach)
            x = x + plain(leaky(dilated(leaky(x))))
            reach -= own
        return trim(x, context, needed)


class UpsampleStage(nn.Module):
    """A transposed convolution, then the mean of several residual blocks."""

    def __init__(self, config: HifiGanConfig, index: int) -> None:
        super().__init__()
        rate, kernel = config.upsample_rates[index], config.upsample_kernels[index]
        channels = config.initial_channels // 2 ** (index + 1)
        self.rate, self.kernel = rate, kernel
        self.upsample = weight_normed(
            nn.ConvTranspose1d(
                2 * channels if index else config.initial_channels,
                channels,
                kernel,
                stride=rate,
                padding=(kernel - rate) // 2,
            )
        )
        blocks = [
            ResidualBlock(channels, kernel, dilations)
            for kernel, dilations in zip(
                config.resblock_kernels, config.resblock_dilations, strict=True
            )
        ]
        self.blocks = nn.ModuleList(blocks)
        self.reach = max(sum(block.reaches) for block in blocks)

    def needed_before(self, needed: int) -> int:
        """Return the context of the input that `needed` positions of the output depend on."""
        # Output o takes part in input i exactly when 0 <= o + padding - rate * i < kernel.
        padding = (self.kernel - self.rate) // 2
        return (self.kernel - 1 - padding + self.reach + needed) // self.rate

    def forward(
        self, x: Tensor, context: Context, needed: int, trim: Trim
    ) -> tuple[Tensor, Context]:
        """Return [B, C/2, T * rate] of [B, C, T], its context trimmed to `needed` positions."""
        x, context = trim(x, context, self.needed_before(needed))
        x, context = self.upsample(leaky(x)), context.upsampled(self.rate)
        total, rest = self.blocks[0](x, context, needed, trim)
        for block in self.blocks[1:]:
            total = total + block(x, context, needed, trim)[0]
        return total / len(self.blocks), rest


class HifiGanDecoder(nn.Module):
    """HiFi-GAN generator.

    Attributes:
        hop: Samples per frame.
        halo_frames: Context each side that makes a frame's samples exact.
    """

    def __init__(self, config: AcousticConfig, settings: HifiGanConfig) -> None:
        super().__init__()
        self.hop = math.prod(settings.upsample_rates)
        padding = EDGE_KERNEL // 2
        channels = settings.initial_channels
        self.input = nn.Conv1d(config.latent_dim, channels, EDGE_KERNEL, padding=padding)
        self.condition = nn.Conv1d(config.gin_dim, channels, 1)
        stages = [UpsampleStage(settings, index) for index in range(len(settings.upsample_rates))]
        self.stages = nn.ModuleList(stages)
        last = channels // 2 ** len(settings.upsample_rates)
        self.output = nn.Conv1d(last, 1, EDGE_KERNEL, padding=padding, bias=False)
        # Context of the latent, then of what each stage returns: from the samples back.
        needed = [padding]
        for stage in reversed(stages):
            needed.insert(0, stage.needed_before(needed[0]))
        self.halo_frames = needed[0] + padding
        self.needed = needed[1:]

    def forward(
        self,
        latent: Tensor,
        style: Tensor,
        context: Context = NO_CONTEXT,
        trim: Trim = drop_context,
    ) -> Tensor:
        """Return the waveform [B, 1, N * hop] in [-1, 1] of [B, D, F] and style [B, G, 1].

        N is F less the context, whose frames are not heard.
        """
        x = self.input(latent) + self.condition(style)
        for stage, needed in zip(self.stages, self.needed, strict=True):
            x, context = stage(x, context, needed, trim)
        x = self.output(functional.leaky_relu(x, LAST_SLOPE))
        return torch.tanh(trim(x, context, 0)[0])
