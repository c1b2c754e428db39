"""Attention with learned relative positions, and the encoder made of it.

All time axes are last. A mask is float [B, 1, T], 1 = real, 0 = padding; None = no padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.layers import ChannelNorm, masked

Span = tuple[int, int] | None  # frames back and ahead that attention may see; None = all

MASKED_SCORE = -1e4  # upstream attentions.py:243 @48b1a01; also finite in fp16


def band_to_square(band: Tensor, window: int) -> Tensor:
    """Place relative scores [..., T, 2W+1] on the diagonals of [..., T, T].

    Entry (i, W + d) goes to (i, i + d); all that is farther than W from the diagonal is zero.
    """
    length = band.shape[-2]
    padded = functional.pad(band, (0, length)).flatten(-2)
    # One element less per row shifts row i by i places.
    skewed = padded[..., : length * (length + 2 * window)]
    square = skewed.reshape(*band.shape[:-1], length + 2 * window)
    return square[..., window : window + length]


def square_to_band(square: Tensor, window: int) -> Tensor:
    """Read the 2W+1 diagonals of [..., T, T] as [..., T, 2W+1]; the reverse of the above."""
    length = square.shape[-1]
    flat = functional.pad(square, (window, window)).flatten(-2)
    skewed = functional.pad(flat, (0, length))
    band = skewed.reshape(*square.shape[:-1], length + 2 * window + 1)
    return band[..., : 2 * window + 1]


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, H*D, T] -> [B, H, T, D]."""
    batch, channels, length = x.shape
    return x.reshape(batch, num_heads, channels // num_heads, length).transpose(2, 3)


def _join_heads(x: Tensor) -> Tensor:
    """[B, H, T, D] -> [B, H*D, T]."""
    return x.transpose(2, 3).flatten(1, 2)


class CrossAttention(nn.Module):
    """Attention of frames to another sequence.

    The keys and values may be prepared once (`memory`) and used for many queries.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (channels // num_heads) ** -0.5
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.value = nn.Conv1d(channels, channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)

    def memory(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, C, S] of `source` [B, C, S]."""
        return self.key(source), self.value(source)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, source_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from `x` [B, C, T].

        Returns:
            The output [B, C, T] and the weights, mean over heads, [B, T, S].
        """
        query = _split_heads(self.query(x), self.num_heads) * self.scale
        scores = query @ _split_heads(keys, self.num_heads).transpose(2, 3)
        if source_mask is not None:
            scores = scores.masked_fill(source_mask.unsqueeze(1) == 0, MASKED_SCORE)
        weights = scores.softmax(dim=-1)
        output = _join_heads(weights @ _split_heads(values, self.num_heads))
        return self.out(output), weights.mean(dim=1)


class RelativeSelfAttention(nn.Module):
    """Self-attention plus learned keys and values for offsets -window..window.

    The relative part is shared by all heads and zero beyond the window. With a `span` (frames back,
    frames ahead) a frame sees no others, so its reach is finite; None sees everything.
    """

    def __init__(
        self, channels: int, num_heads: int, window: int, dropout: float, span: Span = None
    ) -> None:
        super().__init__()
        self.span = span
        self.num_heads = num_heads
        self.window = window
        head_dim = channels // num_heads
        self.scale = head_dim**-0.5
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.value = nn.Conv1d(channels, channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)
        shape = (1, 2 * window + 1, head_dim)
        self.relative_key = nn.Parameter(torch.randn(shape) * self.scale)
        self.relative_value = nn.Parameter(torch.randn(shape) * self.scale)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        query = _split_heads(self.query(x), self.num_heads) * self.scale
        key = _split_heads(self.key(x), self.num_heads)
        value = _split_heads(self.value(x), self.num_heads)
        relative = band_to_square(query @ self.relative_key.transpose(1, 2), self.window)
        scores = query @ key.transpose(2, 3) + relative
        if mask is not None:
            pairs = (mask.unsqueeze(2) * mask.unsqueeze(3)) == 0
            scores = scores.masked_fill(pairs, MASKED_SCORE)
        if self.span is not None:
            scores = scores.masked_fill(_beyond(self.span, x), MASKED_SCORE)
        weights = self.dropout(scores.softmax(dim=-1))
        output = weights @ value + square_to_band(weights, self.window) @ self.relative_value
        return self.out(_join_heads(output))  # type: ignore[no-any-return]


def _beyond(span: tuple[int, int], x: Tensor) -> Tensor:
    """Return bool [T, T], True where a frame (row) may not see another (column)."""
    place = torch.arange(x.shape[2], device=x.device)
    offset = place[None, :] - place[:, None]
    return (offset < -span[0]) | (offset > span[1])


class FeedForward(nn.Module):
    """Two convolutions with a rectifier between."""

    def __init__(self, channels: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.expand = nn.Conv1d(channels, hidden, kernel)
        self.contract = nn.Conv1d(hidden, channels, kernel)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        x = self.expand(functional.pad(masked(x, mask), self.padding))
        x = masked(self.dropout(torch.relu(x)), mask)
        return masked(self.contract(functional.pad(x, self.padding)), mask)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each followed by residual sum and norm (post-norm)."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        num_heads: int,
        kernel: int,
        window: int,
        dropout: float,
        span: Span = None,
    ) -> None:
        super().__init__()
        self.attention = RelativeSelfAttention(channels, num_heads, window, dropout, span)
        self.attention_norm = ChannelNorm(channels)
        self.feed_forward = FeedForward(channels, hidden, kernel, dropout)
        self.feed_forward_norm = ChannelNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x, mask)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A stack of encoder layers; without a span every frame sees every frame."""

    def __init__(
        self,
        num_layers: int,
        *,
        channels: int,
        hidden: int,
        num_heads: int,
        kernel: int,
        window: int,
        dropout: float = 0.0,
        span: Span = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(channels, hidden, num_heads, kernel, window, dropout, span)
            for _ in range(num_layers)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, C, T] of [B, C, T]."""
        x = masked(x, mask)
        for layer in self.layers:
            x = layer(x, mask)
        return masked(x, mask)
