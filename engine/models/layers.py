"""Small parts that several networks share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

NORM_EPS = 1e-5  # of every layer norm, upstream modules.py:21 @48b1a01
LEAKY_SLOPE = 0.1  # upstream modules.py:17; the decoder's last activation is the one exception

Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d)


def weight_normed(conv: Conv) -> Conv:
    """Return `conv` with its weight split into length and direction along axis 0.

    Axis 0 is the output channel of a convolution but the *input* channel of a transposed one;
    upstream normalises over axis 0 in both, so nothing else loads its checkpoints.
    """
    parametrizations.weight_norm(conv, name="weight", dim=0)
    return conv


def fold_weight_norm(network: nn.Module) -> None:
    """Replace every split weight of `network` by its product, in place, for inference."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding of `x` [B, C, T]; `mask` is float [B, 1, T] or None for no padding."""
    return x if mask is None else x * mask


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every time step of `x` [B, C, T] on its own."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class GatedStack(nn.Module):
    """Residual stack of gated convolutions with a global condition (WaveNet without dilation).

    Shapes: x [B, C, T], condition [B, G, 1] -> [B, C, T]. One output frame sees
    `num_layers * (kernel - 1) / 2` frames each side.
    """

    def __init__(self, channels: int, kernel: int, num_layers: int, condition_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.condition = weight_normed(nn.Conv1d(condition_dim, 2 * channels * num_layers, 1))
        self.inputs = nn.ModuleList(
            weight_normed(nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2))
            for _ in range(num_layers)
        )
        # Each layer but the last feeds the residual path as well as the sum of all layers.
        widths = [2 * channels] * (num_layers - 1) + [channels]
        self.outputs = nn.ModuleList(
            weight_normed(nn.Conv1d(channels, width, 1)) for width in widths
        )

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the sum of all layers' skip outputs."""
        biases = self.condition(condition).chunk(len(self.inputs), dim=1)
        total = torch.zeros_like(x)
        for layer, output, bias in zip(self.inputs, self.outputs, biases, strict=True):
            signal, gate = (layer(x) + bias).chunk(2, dim=1)
            y = output(torch.tanh(signal) * torch.sigmoid(gate))
            if y.shape[1] == self.channels:
                total = total + y
            else:
                residual, skip = y.chunk(2, dim=1)
                x = masked(x + residual, mask)
                total = total + skip
        return masked(total, mask)


def leaky(x: Tensor) -> Tensor:
    """The leaky rectifier used between convolutions."""
    return functional.leaky_relu(x, LEAKY_SLOPE)
