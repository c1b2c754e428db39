"""Style encoder: a reference spectrogram (and a speaker embedding) -> one style vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import AcousticConfig
from engine.models.layers import masked


class GatedConv(nn.Module):
    """Convolution with a gated linear unit and a residual."""

    def __init__(self, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, F] of [B, C, F]."""
        return x + self.dropout(functional.glu(self.conv(x), dim=1))  # type: ignore[no-any-return]


class StyleAttention(nn.Module):
    """Self-attention with a residual over [B, F, C]."""

    def __init__(self, channels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        # Of the whole width, not of one head: upstream modules.py:609 @48b1a01.
        self.scale = channels**-0.5
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def _heads(self, x: Tensor) -> Tensor:
        batch, length, channels = x.shape
        split = x.reshape(batch, length, self.num_heads, channels // self.num_heads)
        return split.transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend over the frames; `mask` is [B, 1, F]."""
        query, key, value = (self._heads(f(x)) for f in (self.query, self.key, self.value))
        scores = (query @ key.transpose(2, 3)) * self.scale
        if mask is not None:
            scores = scores.masked_fill(mask.unsqueeze(1) == 0, float("-inf"))
        weights = self.dropout(scores.softmax(dim=-1))
        output = (weights @ value).transpose(1, 2).flatten(2)
        return x + self.dropout(self.out(output))  # type: ignore[no-any-return]


class SpectrumEncoder(nn.Module):
    """The first `style_bins` bins of a linear spectrogram -> a vector, mean over time."""

    def __init__(self, config: AcousticConfig, dropout: float) -> None:
        super().__init__()
        hidden = config.style_hidden
        self.bins = config.style_bins
        self.spectral_in = nn.Linear(config.style_bins, hidden)
        self.spectral_out = nn.Linear(hidden, hidden)
        self.temporal = nn.ModuleList(
            GatedConv(hidden, config.style_kernel, dropout) for _ in range(2)
        )
        self.attention = StyleAttention(hidden, config.style_heads, dropout)
        self.out = nn.Linear(hidden, config.gin_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, G] of `spec` [B, bins, F]; `mask` is [B, 1, F]."""
        x = spec[:, : self.bins].transpose(1, 2)
        x = self.dropout(functional.mish(self.spectral_in(x)))
        x = self.dropout(functional.mish(self.spectral_out(x))).transpose(1, 2)
        # Upstream masks after the convolutions only, so what pads a batch leaks into its rows.
        for layer in self.temporal:
            x = layer(masked(x, mask))
        x = masked(x, mask)
        frames: Tensor = self.out(self.attention(x.transpose(1, 2), mask))
        if mask is None:
            return frames.mean(dim=1)
        return (frames * mask.transpose(1, 2)).sum(dim=1) / mask.sum(dim=2)


class StyleEncoder(nn.Module):
    """Style vector of a reference.

    Where the config has a `speaker_dim`, a speaker-verification embedding is added and a PReLU
    with one slope per channel follows.
    """

    def __init__(self, config: AcousticConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.speaker_dim = config.speaker_dim
        self.spectrum = SpectrumEncoder(config, dropout)
        self.speaker: nn.Linear | None = None
        self.activation: nn.PReLU | None = None
        if config.speaker_dim > 0:
            self.speaker = nn.Linear(config.speaker_dim, config.gin_dim)
            self.activation = nn.PReLU(config.gin_dim)

    def forward(
        self, spec: Tensor, speaker: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the style vector [B, G, 1] of one reference per row.

        Args:
            spec: Linear magnitude spectrogram [B, bins, F].
            speaker: Speaker embedding [B, speaker_dim]; None exactly when the model has none.
            mask: [B, 1, F] when rows are padded.
        """
        style: Tensor = self.spectrum(spec, mask)
        if self.speaker is not None and self.activation is not None:
            assert speaker is not None, "this model needs a speaker embedding"
            style = self.activation(style + self.speaker(speaker))
        return style.unsqueeze(2)


def average_styles(styles: list[Tensor]) -> Tensor:
    """Return the mean of style vectors [B, G, 1] of several references (after the PReLU)."""
    return torch.stack(styles).mean(dim=0)
