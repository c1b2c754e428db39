"""Judges of adversarial training: does this waveform come from a recording?

One judge looks at the wave as it is, the others at every p-th sample for several periods p.
`SpectralJudges` look at log spectra instead, for decoders that choose their own phase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.layers import leaky, weight_normed


class ScaleLayer(NamedTuple):
    """One strided, grouped convolution of the judge of the whole wave."""

    channels: int
    kernel: int
    stride: int
    groups: int


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Sizes of the judges: about 1/100 of upstream's operations, for small models and a CPU.

    A period judge has one convolution per entry of `period_channels`, strided but for the last.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (8, 16, 32, 64, 64)
    period_kernel: int = 5
    period_stride: int = 3
    scale: tuple[ScaleLayer, ...] = (
        ScaleLayer(8, 15, 2, 1),
        ScaleLayer(16, 41, 4, 4),
        ScaleLayer(32, 41, 4, 8),
        ScaleLayer(64, 41, 4, 16),
        ScaleLayer(64, 5, 1, 1),
    )


SLIM = DiscriminatorConfig()


@dataclass(frozen=True, slots=True)
class SpectralJudgeConfig:
    """Judges of log magnitudes: one per mel picture (window, hop, bands)."""

    pictures: tuple[tuple[int, int, int], ...] = ((1024, 240, 100), (384, 120, 64))
    channels: tuple[int, ...] = (24, 48, 72, 96)


class Verdict(NamedTuple):
    """Scores [B, S] (1 = recorded, 0 = made) and every layer's output, for feature matching."""

    scores: Tensor
    features: list[Tensor]


class PeriodJudge(nn.Module):
    """Looks at the wave folded into rows of `period` samples; columns never mix."""

    def __init__(self, period: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.period = period
        last = len(config.period_channels) - 1
        padding = (config.period_kernel // 2, 0)
        channels = (1, *config.period_channels)
        self.layers = nn.ModuleList(
            weight_normed(
                nn.Conv2d(
                    channels[i],
                    channels[i + 1],
                    (config.period_kernel, 1),
                    stride=(1 if i == last else config.period_stride, 1),
                    padding=padding,
                )
            )
            for i in range(last + 1)
        )
        self.output = weight_normed(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: Tensor) -> Verdict:
        """Judge [B, 1, N]."""
        missing = -waveform.shape[2] % self.period
        if missing:
            waveform = functional.pad(waveform, (0, missing), mode="reflect")
        folded = waveform.reshape(waveform.shape[0], 1, -1, self.period)
        return _judge(folded, self.layers, self.output)


class ScaleJudge(nn.Module):
    """Looks at the wave at its full rate."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        channels = 1
        self.layers = nn.ModuleList()
        for layer in config.scale:
            conv = nn.Conv1d(
                channels,
                layer.channels,
                layer.kernel,
                stride=layer.stride,
                padding=layer.kernel // 2,
                groups=layer.groups,
            )
            self.layers.append(weight_normed(conv))
            channels = layer.channels
        self.output = weight_normed(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> Verdict:
        """Judge [B, 1, N]."""
        return _judge(waveform, self.layers, self.output)


class PictureJudge(nn.Module):
    """Looks at one picture [B, 1, bands, columns]: patches, each layer halving the bands."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        wide = (1, *channels)
        self.layers = nn.ModuleList(
            weight_normed(
                nn.Conv2d(
                    wide[i],
                    wide[i + 1],
                    (5, 5) if i == 0 else (3, 5),
                    # Time is halved in the second half only: roughness is fast.
                    stride=(2, 1 if i < len(channels) // 2 else 2),
                    padding=(2, 2) if i == 0 else (1, 2),
                )
            )
            for i in range(len(channels))
        )
        self.output = weight_normed(nn.Conv2d(channels[-1], 1, 3, padding=1))

    def forward(self, picture: Tensor) -> Verdict:
        """Judge a picture."""
        return _judge(picture, self.layers, self.output)


class SpectralJudges(nn.Module):
    """Judges of mel spectra; which phase a decoder chose does not count.

    Args:
        mel_filters: (sample rate, window, bands) -> [bands, window / 2 + 1].
    """

    def __init__(
        self,
        sample_rate_hz: int,
        mel_filters: Callable[[int, int, int], Tensor],
        config: SpectralJudgeConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or SpectralJudgeConfig()
        self.judges = nn.ModuleList(
            PictureJudge(self.config.channels) for _ in self.config.pictures
        )
        for index, (window, _, bands) in enumerate(self.config.pictures):
            filters = mel_filters(sample_rate_hz, window, bands)
            self.register_buffer(f"filters_{index}", filters, persistent=False)

    def forward(self, waveform: Tensor) -> list[Verdict]:
        """Judge [B, 1, N]; the verdicts of all judges."""
        return [judge(self.picture(waveform, index)) for index, judge in enumerate(self.judges)]

    def picture(self, waveform: Tensor, index: int) -> Tensor:
        """Return the log mel spectrum [B, 1, bands, columns] of [B, 1, N], about -2 to 2."""
        window, hop, _ = self.config.pictures[index]
        shape = torch.hann_window(window, device=waveform.device) * (4.0 / window)
        with torch.autocast("cpu", enabled=False):
            spectrum = torch.stft(
                waveform.squeeze(1).float(),
                window,
                hop_length=hop,
                window=shape,
                center=False,
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            filters: Tensor = self.get_buffer(f"filters_{index}")
            mel = torch.log(filters @ (power + 1e-12).sqrt() + 1e-4)
        return (mel.unsqueeze(1) + 6.0) / 2.0


def _judge(x: Tensor, layers: nn.ModuleList, output: nn.Module) -> Verdict:
    features = []
    for layer in layers:
        x = leaky(layer(x))
        features.append(x)
    x = output(x)
    features.append(x)
    return Verdict(x.flatten(1), features)


class Discriminators(nn.Module):
    """All judges: first that of the whole wave, then one per period."""

    def __init__(self, config: DiscriminatorConfig = SLIM) -> None:
        super().__init__()
        self.config = config
        self.judges = nn.ModuleList(
            [ScaleJudge(config), *(PeriodJudge(period, config) for period in config.periods)]
        )

    def forward(self, waveform: Tensor) -> list[Verdict]:
        """Judge [B, 1, N]; the verdicts of all judges."""
        return [judge(waveform) for judge in self.judges]
