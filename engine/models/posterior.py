"""Posterior encoder: the latent of a real recording. Training only."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from engine.model_config import AcousticConfig
from engine.models.layers import GatedStack, masked


class Posterior(NamedTuple):
    """A sampled latent and its Gaussian, each [B, D, F]."""

    latent: Tensor
    mean: Tensor
    log_std: Tensor


class PosteriorEncoder(nn.Module):
    """Linear spectrogram -> Gaussian over the latent."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.input = nn.Conv1d(config.spec_bins, config.hidden_dim, 1)
        self.gates = GatedStack(
            config.hidden_dim, config.posterior_kernel, config.posterior_layers, config.gin_dim
        )
        self.stats = nn.Conv1d(config.hidden_dim, 2 * config.latent_dim, 1)

    def forward(
        self, spec: Tensor, style: Tensor, noise: Tensor, mask: Tensor | None = None
    ) -> Posterior:
        """Encode `spec` [B, bins, F].

        Args:
            style: [B, G, 1]; no gradient flows back through it (upstream models.py:362 @48b1a01:
                the style encoder learns from the decoder and the prior only).
            noise: Standard normal, [B, D, F].
        """
        hidden = masked(self.input(spec), mask)
        hidden = self.gates(hidden, style.detach(), mask)
        mean, log_std = masked(self.stats(hidden), mask).chunk(2, dim=1)
        return Posterior(masked(mean + noise * log_std.exp(), mask), mean, log_std)
