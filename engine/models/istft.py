"""A light decoder: ConvNeXt blocks ended by an inverse short-time Fourier transform.

It keeps the streaming contract of `engine.models.decoder` with a fraction of the operations:
nothing runs above the STFT's frame rate but one matrix product.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import AcousticConfig, IstftConfig
from engine.models.layers import ChannelNorm

INPUT_KERNEL = 7
MAX_LOG_MAGNITUDE = math.log(1e2)  # keeps exp() finite before training has settled


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm, pointwise expansion, residual with a learned scale."""

    def __init__(self, channels: int, kernel: int, factor: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv1d(channels, factor * channels, 1)
        self.contract = nn.Conv1d(factor * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        y = self.expand(self.norm(self.depthwise(x)))
        return x + self.scale * self.contract(functional.gelu(y))  # type: ignore[no-any-return]


class InverseStft(nn.Module):
    """Spectra at rate 1 / hop -> samples: one matrix product and an overlap-add.

    Frame m is centred on samples m * hop .. (m + 1) * hop, so M frames give exactly M * hop
    samples. The Hann windows overlap to a constant, which is divided out once; nothing depends
    on where a sequence begins or ends except the missing neighbours of its outermost frames.
    """

    basis: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        assert n_fft % (2 * hop) == 0 and n_fft >= 4 * hop, "windows must overlap to a constant"
        self.hop = hop
        self.overlap = n_fft // hop
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        time = torch.arange(n_fft, dtype=torch.float64)
        angle = 2 * math.pi / n_fft * time[:, None] * bins[None]
        # A real signal: every bin but the first and the last counts twice.
        weight = torch.full_like(bins, 2.0)
        weight[0] = weight[-1] = 1.0
        inverse = torch.cat((weight * angle.cos(), -weight * angle.sin()), dim=1) / n_fft
        window = 0.5 - 0.5 * torch.cos(2 * math.pi / n_fft * time)
        constant = 0.375 * self.overlap  # sum of the squared, shifted windows
        basis = inverse * window[:, None] / constant
        self.register_buffer("basis", basis.float()[:, :, None], persistent=False)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        """Return [B, 1, M * hop] of real and imaginary parts [B, bins, M]."""
        frames = functional.conv1d(torch.cat((real, imag), dim=1), self.basis)
        pieces = frames.reshape(frames.shape[0], self.overlap, self.hop, -1)
        last = self.overlap - 1
        total = functional.pad(pieces[:, 0], (0, last))
        for shift in range(1, self.overlap):
            total = total + functional.pad(pieces[:, shift], (shift, last - shift))
        samples = total.transpose(1, 2).flatten(1).unsqueeze(1)
        trim = last * self.hop // 2
        return samples[:, :, trim : samples.shape[2] - trim]


class IstftDecoder(nn.Module):
    """ConvNeXt blocks at 50 Hz, then at the STFT's rate, then an inverse STFT.

    Attributes:
        hop: Samples per frame.
        halo_frames: Context each side that makes a frame's samples exact.
    """

    def __init__(self, config: AcousticConfig, settings: IstftConfig) -> None:
        super().__init__()
        self.hop = settings.upsample_rate * settings.hop
        self.rate = settings.upsample_rate
        self.halo_frames = halo_frames(settings)
        wide, narrow = settings.frame_channels, settings.channels
        scale = 1 / (settings.frame_blocks + settings.blocks)
        self.input = nn.Conv1d(config.latent_dim, wide, INPUT_KERNEL, padding=INPUT_KERNEL // 2)
        self.condition = nn.Conv1d(config.gin_dim, wide + narrow, 1)
        self.input_norm = ChannelNorm(wide)
        self.frame_blocks = nn.Sequential(
            *(
                ConvNeXtBlock(wide, settings.kernel, settings.ffn_factor, scale)
                for _ in range(settings.frame_blocks)
            )
        )
        self.upsample = nn.Conv1d(wide, narrow * settings.upsample_rate, 1)
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(narrow, settings.kernel, settings.ffn_factor, scale)
                for _ in range(settings.blocks)
            )
        )
        self.norm = ChannelNorm(narrow)
        self.head = nn.Conv1d(narrow, settings.n_fft + 2, 1)
        self.inverse = InverseStft(settings.n_fft, settings.hop)
        self._widths = (wide, narrow)

    def spectrum(self, latent: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Return log magnitude and phase, each [B, n_fft/2 + 1, F * upsample_rate]."""
        frame_style, style = self.condition(style).split(self._widths, dim=1)
        x = self.frame_blocks(self.input_norm(self.input(latent) + frame_style))
        batch, _, frames = x.shape
        x = self.upsample(x).reshape(batch, -1, self.rate, frames).transpose(2, 3).flatten(2)
        x = self.norm(self.blocks(x + style))
        log_magnitude, phase = self.head(x).chunk(2, dim=1)
        return log_magnitude, phase

    def forward(self, latent: Tensor, style: Tensor) -> Tensor:
        """Return the waveform [B, 1, F * hop] of [B, D, F] and style [B, G, 1].

        Not limited to [-1, 1]: training needs the gradient of what goes beyond.
        """
        log_magnitude, phase = self.spectrum(latent, style)
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp()
        return self.inverse(magnitude * phase.cos(), magnitude * phase.sin())  # type: ignore[no-any-return]


def halo_frames(settings: IstftConfig) -> int:
    """Return how many frames beside a frame its samples depend on."""
    reach = settings.kernel // 2
    last = settings.n_fft // settings.hop - 1
    # An STFT frame spans its own hop and (overlap - 1) / 2 hops each side, rounded up.
    spectra = (last + 1) // 2 + settings.blocks * reach
    return (
        math.ceil(spectra / settings.upsample_rate)
        + settings.frame_blocks * reach
        + (INPUT_KERNEL // 2)
    )
