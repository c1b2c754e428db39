"""ERes2NetV2, the speaker network whose fused map is v2Pro's speaker embedding.

A 2-D residual network over (mel, time). In a block, the channels are split into groups; each group
is convolved together with the result of the group before it (Res2Net), added in the first two
stages and mixed by a gate in the last two. Finally the third stage, halved, is mixed into the
fourth. GPT-SoVITS takes the mean over time of that map, before the network's own pooling and
embedding layers, which are therefore not built.

Sizes come from `settings`: channels, expansion, stages = [[width, blocks], ...], scale.
Source: 3D-Speaker's ERes2NetV2 (w24s4ep4) as upstream uses it, sv.py and ERes2NetV2.py @48b1a01
(facts and maths only).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CLIP = 20.0  # the blocks' ReLU saturates here; the stem's does not
_SQUEEZE = 4  # of the gates
_FIRST_GATED_STAGE = 2


class ConvNorm(nn.Sequential):
    """A convolution without bias and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)


class Gate(nn.Module):
    """Mixes two maps: `a (1 + g) + b (1 - g)`, g in (-1, 1) computed from both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // _SQUEEZE
        self.squeeze = nn.Conv2d(2 * channels, inner, 1)
        self.squeeze_norm = nn.BatchNorm2d(inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.expand_norm = nn.BatchNorm2d(channels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mix two maps [B, C, M, T]."""
        inner = F.silu(self.squeeze_norm(self.squeeze(torch.cat((a, b), dim=1))))
        gate = torch.tanh(self.expand_norm(self.expand(inner)))
        return a * (1 + gate) + b * (1 - gate)


class Block(nn.Module):
    """A bottleneck whose middle is a chain of convolutions over groups of channels."""

    def __init__(
        self, inputs: int, width: int, outputs: int, *, scale: int, stride: int, is_gated: bool
    ) -> None:
        super().__init__()
        self.entry = ConvNorm(inputs, width * scale, stride=stride)
        self.groups = nn.ModuleList(ConvNorm(width, width, 3) for _ in range(scale))
        gates = scale - 1 if is_gated else 0
        self.gates = nn.ModuleList(Gate(width) for _ in range(gates))
        self.exit = ConvNorm(width * scale, outputs)
        is_same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if is_same else ConvNorm(inputs, outputs, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, M, T] to [B, outputs, M / stride, T / stride]."""
        parts = _clip(self.entry(x)).tensor_split(len(self.groups), dim=1)
        done: list[Tensor] = []
        for index, (part, group) in enumerate(zip(parts, self.groups, strict=True)):
            if index:
                before = done[-1]
                part = self.gates[index - 1](before, part) if len(self.gates) else before + part
            done.append(_clip(group(part)))
        return _clip(self.exit(torch.cat(done, dim=1)) + self.shortcut(x))


class ERes2NetV2(nn.Module):
    """See the module docstring."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        channels, expansion = int(settings["channels"]), int(settings["expansion"])
        self.stem = ConvNorm(1, channels, 3)
        self.stages = nn.ModuleList()
        inputs = channels
        for stage, (width, num_blocks) in enumerate(settings["stages"]):
            outputs = channels * 2**stage * expansion
            blocks = nn.Sequential()
            for index in range(num_blocks):
                stride = 2 if stage and not index else 1
                blocks.append(
                    Block(
                        inputs,
                        width,
                        outputs,
                        scale=int(settings["scale"]),
                        stride=stride,
                        is_gated=stage >= _FIRST_GATED_STAGE,
                    )
                )
                inputs = outputs
            self.stages.append(blocks)
        self.downsample = nn.Conv2d(inputs // 2, inputs, 3, stride=2, padding=1, bias=False)
        self.fusion = Gate(inputs)
        self.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Return the speaker embedding [B, S] of filter-bank features [B, T, mel].

        S = channels of the last stage x mel / 8, channels first.
        """
        x = F.relu(self.stem(features.transpose(1, 2).unsqueeze(1)))
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        fused: Tensor = self.fusion(maps[-1], self.downsample(maps[-2]))
        return fused.flatten(1, 2).mean(dim=-1)


def _clip(x: Tensor) -> Tensor:
    return x.clamp(0.0, _CLIP)
