"""Normalising flow between the prior's and the decoder's latent space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model_config import AcousticConfig
from engine.models.layers import GatedStack, masked


class Coupling(nn.Module):
    """Shifts one half of the channels by what it reads in the other (mean only, no scale)."""

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        half = config.latent_dim // 2
        self.input = nn.Conv1d(half, config.hidden_dim, 1)
        self.gates = GatedStack(
            config.hidden_dim, config.flow_kernel, config.flow_layers, config.gin_dim
        )
        self.shift = nn.Conv1d(config.hidden_dim, half, 1)
        # Identity at birth, so that training starts from the prior as it is.
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)  # type: ignore[arg-type]

    def _shift(self, fixed: Tensor, style: Tensor, mask: Tensor | None) -> Tensor:
        hidden = masked(self.input(fixed), mask)
        return masked(self.shift(self.gates(hidden, style, mask)), mask)

    def forward(self, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Training direction: [B, D, F] -> [B, D, F]."""
        fixed, moved = x.chunk(2, dim=1)
        moved = masked(moved, mask) + self._shift(fixed, style, mask)
        return torch.cat((fixed, moved), dim=1)

    def inverse(self, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Synthesis direction, the exact inverse of `forward`."""
        fixed, moved = x.chunk(2, dim=1)
        moved = masked(moved - self._shift(fixed, style, mask), mask)
        return torch.cat((fixed, moved), dim=1)


class Flow(nn.Module):
    """Couplings with the channel order reversed after each.

    Volume preserving, so the log-determinant is zero and does not appear.

    Attributes:
        halo_frames: Context each side that makes a frame of either direction exact.
    """

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(config) for _ in range(config.flow_couplings))
        reach = config.flow_kernel // 2
        self.halo_frames = config.flow_couplings * config.flow_layers * reach

    def forward(self, latent: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map the posterior's latent to the prior's: [B, D, F], style [B, G, 1] -> [B, D, F]."""
        for coupling in self.couplings:
            latent = coupling(latent, style, mask).flip(1)
        return latent

    def inverse(self, latent: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map the prior's latent to the decoder's: [B, D, F], style [B, G, 1] -> [B, D, F]."""
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            latent = coupling.inverse(latent.flip(1), style, mask)
        return latent
