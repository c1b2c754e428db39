"""Semantic tokens: the nearest codebook row of a strided projection of SSL features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model_config import AcousticConfig
from engine.models.istft import ConvNeXtBlock

CONTEXT_KERNEL = 7
_CONTEXT_SCALE = 0.1


class Quantizer(nn.Module):
    """Projection to 25 Hz, nearest-row search, and lookup.

    The codebook is not trained by gradient: `codebook_sum` and `cluster_size` are the running
    means an EMA update keeps, `initialized` says whether the rows have been set from data.
    """

    codebook: Tensor
    codebook_sum: Tensor
    cluster_size: Tensor
    initialized: Tensor

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        self.frames_per_token = config.ssl_stride
        # Neighbouring frames tell a phoneme better than two alone; official models have no blocks.
        self.context = nn.Sequential(
            *(
                ConvNeXtBlock(config.ssl_dim, CONTEXT_KERNEL, 1, _CONTEXT_SCALE)
                for _ in range(config.ssl_context_blocks)
            )
        )
        self.project = nn.Conv1d(
            config.ssl_dim, config.codebook_dim, config.ssl_stride, stride=config.ssl_stride
        )
        rows = torch.zeros(config.codebook_size, config.codebook_dim)
        self.register_buffer("codebook", rows)
        self.register_buffer("codebook_sum", rows.clone())
        self.register_buffer("cluster_size", torch.zeros(config.codebook_size))
        self.register_buffer("initialized", torch.zeros(1))

    def nearest(self, features: Tensor) -> Tensor:
        """Return int64 [B, T]: the row nearest to each column of `features` [B, D, T]."""
        x = features.transpose(1, 2)
        # |x|^2 is the same for all rows, so it does not take part in the comparison.
        distance = self.codebook.square().sum(dim=1) - 2 * (x @ self.codebook.t())
        return distance.argmin(dim=2)

    def columns(self, ssl: Tensor) -> Tensor:
        """Return what the rows are compared with, [B, D, T], of SSL features [B, S, 2T]."""
        columns: Tensor = self.project(self.context(ssl))
        return columns

    def forward(self, ssl: Tensor) -> Tensor:
        """Return the tokens, int64 [B, T], of SSL features [B, S, 2T]; an odd frame is dropped."""
        return self.nearest(self.columns(ssl))

    def lookup(self, tokens: Tensor) -> Tensor:
        """Return the rows of int64 [B, T] at frame rate: [B, D, 2T], each row repeated."""
        rows = nn.functional.embedding(tokens, self.codebook).transpose(1, 2)
        return rows.repeat_interleave(self.frames_per_token, dim=2)
