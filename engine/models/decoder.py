"""Waveform decoders: the latent and the style -> samples.

Streaming contract of every decoder: F frames give exactly F * hop samples, and a frame's samples
depend on at most `halo_frames` frames each side, so windows that overlap by the halo join to the
very result of one whole decode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import AcousticConfig, HifiGanConfig
from engine.models.layers import leaky, weight_normed

LAST_SLOPE = 0.01  # upstream models.py:467 @48b1a01: the library's default, all others are 0.1
EDGE_KERNEL = 7  # of the first and the last convolution


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

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(leaky(dilated(leaky(x))))
        return x


class UpsampleStage(nn.Module):
    """A transposed convolution, then the mean of several residual blocks."""

    def __init__(self, config: HifiGanConfig, index: int) -> None:
        super().__init__()
        rate, kernel = config.upsample_rates[index], config.upsample_kernels[index]
        channels = config.initial_channels // 2 ** (index + 1)
        self.upsample = weight_normed(
            nn.ConvTranspose1d(
                2 * channels if index else config.initial_channels,
                channels,
                kernel,
                stride=rate,
                padding=(kernel - rate) // 2,
            )
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, kernel, dilations)
            for kernel, dilations in zip(
                config.resblock_kernels, config.resblock_dilations, strict=True
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C/2, T * rate] of [B, C, T]."""
        x = self.upsample(leaky(x))
        total = self.blocks[0](x)
        for block in self.blocks[1:]:
            total = total + block(x)
        return total / len(self.blocks)  # type: ignore[no-any-return]


class HifiGanDecoder(nn.Module):
    """HiFi-GAN generator.

    Attributes:
        hop: Samples per frame.
        halo_frames: Context each side that makes a frame's samples exact.
    """

    def __init__(self, config: AcousticConfig, settings: HifiGanConfig) -> None:
        super().__init__()
        self.hop = math.prod(settings.upsample_rates)
        self.halo_frames = halo_frames(settings)
        padding = EDGE_KERNEL // 2
        channels = settings.initial_channels
        self.input = nn.Conv1d(config.latent_dim, channels, EDGE_KERNEL, padding=padding)
        self.condition = nn.Conv1d(config.gin_dim, channels, 1)
        self.stages = nn.ModuleList(
            UpsampleStage(settings, index) for index in range(len(settings.upsample_rates))
        )
        last = channels // 2 ** len(settings.upsample_rates)
        self.output = nn.Conv1d(last, 1, EDGE_KERNEL, padding=padding, bias=False)

    def forward(self, latent: Tensor, style: Tensor) -> Tensor:
        """Return the waveform [B, 1, F * hop] in [-1, 1] of [B, D, F] and style [B, G, 1]."""
        x = self.input(latent) + self.condition(style)
        for stage in self.stages:
            x = stage(x)
        return torch.tanh(self.output(functional.leaky_relu(x, LAST_SLOPE)))


def halo_frames(settings: HifiGanConfig) -> int:
    """Return how many frames beside a frame its samples depend on, by interval arithmetic.

    The interval of inputs that one frame's samples need is carried back from the output to the
    latent, layer by layer.
    """
    first, last = 0, math.prod(settings.upsample_rates) - 1
    first, last = first - EDGE_KERNEL // 2, last + EDGE_KERNEL // 2
    block_reach = max(
        sum((dilation + 1) * (kernel - 1) // 2 for dilation in dilations)
        for kernel, dilations in zip(
            settings.resblock_kernels, settings.resblock_dilations, strict=True
        )
    )
    stages = zip(settings.upsample_rates, settings.upsample_kernels, strict=True)
    for rate, kernel in reversed(list(stages)):
        first, last = first - block_reach, last + block_reach
        padding = (kernel - rate) // 2
        # Output o takes part in input i exactly when 0 <= o + padding - rate * i < kernel.
        first = -((kernel - 1 - padding - first) // rate)
        last = (last + padding) // rate
    first, last = first - EDGE_KERNEL // 2, last + EDGE_KERNEL // 2
    return max(-first, last)
