"""The T2S network: phonemes and prompt tokens in, one semantic token after another out.

A decoder-only transformer of post-norm layers over `text ++ tokens`. Text rows see all text and no
token; token rows see all text and the tokens up to themselves. Text and tokens have sinusoidal
positions of their own, each from 0, scaled by a learned alpha.

`prefill` runs the prefix and returns the key/value rows of every layer; `step` adds one token per
batch row. `step` never writes to the past: it reads it through an additive mask and returns the new
rows, so one graph serves a growing past and a preallocated buffer. `step_in_place` returns whole
caches with the new rows in them, for devices where a cache stays at one address. Attention is
spelled out (matrix product, softmax, matrix product) to leave no choice of kernel to the shape of
the batch.

Shapes: B rows, P phonemes, T tokens, S = P + T positions, C past positions, H hidden, N heads,
D = H / N, V vocabulary.
Source: upstream AR/models/t2s_model.py and AR/modules @48b1a01 (facts and maths only).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.model_config import T2SConfig

IGNORED = -100  # target of a padded position, as `cross_entropy` ignores it by default


# (cache [B, N, C, D], rows [B, N, 1, D], positions int64 [B]) -> the cache with the rows written.
WriteRows: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class CacheRows(NamedTuple):
    """Key and value rows, one tensor per layer, each float32 [B, N, positions, D]."""

    keys: list[Tensor]
    values: list[Tensor]


class SinusoidPosition(nn.Module):
    """`x + alpha * sinusoid(position)`; sines on even channels, cosines on odd ones."""

    table: Tensor

    def __init__(self, dim: int, num_positions: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        position = torch.arange(num_positions, dtype=torch.float32)[:, None]
        frequency = torch.exp(
            torch.arange(0, dim, 2, dtype=torch.float32) * -(math.log(10000.0) / dim)
        )
        table = torch.stack((torch.sin(position * frequency), torch.cos(position * frequency)), -1)
        self.register_buffer("table", table.reshape(num_positions, dim), persistent=False)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Add the positions, int64 [T] or [B, T], to float32 [B, T, H]."""
        # `embedding`, not indexing: it exports as Gather instead of GatherND.
        return x + self.alpha * F.embedding(position, self.table)


class T2SLayer(nn.Module):
    """Self-attention and a ReLU feed-forward, each followed by residual and layer norm."""

    def __init__(self, config: T2SConfig, dropout: float) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.num_heads = config.num_heads
        self.head_dim = hidden // config.num_heads
        self.scale = 1.0 / math.sqrt(self.head_dim)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.ffn_in = nn.Linear(hidden, config.ffn_dim)
        self.ffn_out = nn.Linear(config.ffn_dim, hidden)
        self.attention_norm = nn.LayerNorm(hidden)
        self.ffn_norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run whole sequences.

        Args:
            x: float32 [B, S, H].
            mask: Additive, float32, broadcastable to [B, N, S, S].

        Returns:
            The output [B, S, H], keys and values [B, N, S, D].
        """
        query, key, value = self.project(x)
        weights = torch.softmax(query @ key.transpose(2, 3) * self.scale + mask, dim=-1)
        return self.finish(x, weights @ value), key, value

    def step(
        self, x: Tensor, past_key: Tensor, past_value: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one new position per row against a read-only past.

        Args:
            x: float32 [B, 1, H].
            past_key: float32 [B, N, C, D], as is `past_value`.
            mask: Additive over the past, float32, broadcastable to [B, N, 1, C].

        Returns:
            The output [B, 1, H], the new key and value rows [B, N, 1, D].
        """
        query, key, value = self.project_one(x)
        context = self.attend(query, key, value, past_key, past_value, mask)
        return self.finish(x, context), key, value

    def step_in_place(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
        length: Tensor,
        write: WriteRows,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one new position per row against caches that it is written to.

        Args:
            x: float32 [B, 1, H].
            keys: float32 [B, N, C, D], as is `values`.
            mask: Additive over the cache, the new position included, float32 [B, 1, 1, C].
            length: int64 [B], where each row's new position goes.

        Returns:
            The output [B, 1, H] and the caches as they are now.
        """
        query, key, value = self.project_one(x)
        keys, values = write(keys, key, length), write(values, value, length)
        weights = torch.softmax(query @ keys.transpose(2, 3) * self.scale + mask, dim=-1)
        return self.finish(x, weights @ values), keys, values

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        past_key: Tensor,
        past_value: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Return the heads' output [B, N, 1, D] of one new position; arguments as `step`."""
        past_scores = query @ past_key.transpose(2, 3) * self.scale + mask
        own_score = (query * key).sum(-1, keepdim=True) * self.scale
        weights = torch.softmax(torch.cat((past_scores, own_score), dim=-1), dim=-1)
        return weights[..., :-1] @ past_value + weights[..., -1:] * value

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value of [B, S, H], each [B, N, S, D]."""
        batch, length, _ = x.shape
        split = self.qkv(x).view(batch, length, 3, self.num_heads, self.head_dim)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def project_one(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `project` does for [B, 1, H]; with one position nothing has to be moved."""
        hidden = self.num_heads * self.head_dim
        query, key, value = (
            part.view(-1, self.num_heads, 1, self.head_dim) for part in self.qkv(x).split(hidden, 2)
        )
        return query, key, value

    def finish(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the layer's output from its input [B, S, H] and the heads' [B, N, S, D]."""
        if x.shape[1] == 1:
            merged = context.reshape(-1, 1, self.num_heads * self.head_dim)
        else:
            merged = context.transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.dropout(self.out(merged)))
        inner = self.dropout(F.relu(self.ffn_in(x)))
        normed: Tensor = self.ffn_norm(x + self.dropout(self.ffn_out(inner)))
        return normed


class T2S(nn.Module):
    """See the module docstring."""

    def __init__(self, config: T2SConfig, *, dropout: float = 0.0) -> None:
        """Build the network with torch's initial weights.

        Args:
            config: Every size.
            dropout: For training, in the layers; upstream trains with 0.1.
        """
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        self.phoneme_embedding = nn.Embedding(config.num_phonemes, hidden)
        self.token_embedding = nn.Embedding(config.vocab_size, hidden)
        self.bert_projection = nn.Linear(config.bert_dim, hidden)
        self.phoneme_position = SinusoidPosition(hidden, config.max_positions)
        self.token_position = SinusoidPosition(hidden, config.max_positions)
        self.layers = nn.ModuleList(T2SLayer(config, dropout) for _ in range(config.num_layers))
        self.head = nn.Linear(hidden, config.vocab_size, bias=False)

    def prefill(self, phonemes: Tensor, bert: Tensor, tokens: Tensor) -> tuple[Tensor, CacheRows]:
        """Run the prefix of rows that all have the same lengths.

        Args:
            phonemes: int64 [B, P], prompt then target.
            bert: float32 [B, bert_dim, P].
            tokens: int64 [B, T], the prompt, T >= 0.

        Returns:
            Logits of the next token [B, V] and the cache rows of all S positions.
        """
        hidden, cache = self.encode(phonemes, bert, tokens)
        return self.head(hidden[:, -1]), cache

    def encode(self, phonemes: Tensor, bert: Tensor, tokens: Tensor) -> tuple[Tensor, CacheRows]:
        """Return the last layer's output [B, S, H] and the cache rows; arguments as `prefill`."""
        x = self.embed(phonemes, bert, tokens)
        mask = prefix_mask(phonemes.shape[1], x.shape[1], x)
        cache = CacheRows([], [])
        for layer in self.layers:
            x, key, value = layer(x, mask)
            cache.keys.append(key)
            cache.values.append(value)
        return x, cache

    def embed(self, phonemes: Tensor, bert: Tensor, tokens: Tensor) -> Tensor:
        """Return the transformer's input [B, S, H]; arguments as `prefill`."""
        text = self.phoneme_embedding(phonemes) + self.bert_projection(bert.transpose(1, 2))
        text = self.phoneme_position(text, _count(phonemes))
        audio = self.token_position(self.token_embedding(tokens), _count(tokens))
        return torch.cat((text, audio), dim=1)

    def step(
        self,
        tokens: Tensor,
        position: Tensor,
        mask: Tensor,
        past_keys: Sequence[Tensor],
        past_values: Sequence[Tensor],
    ) -> tuple[Tensor, CacheRows]:
        """Append one token to each row; rows do not influence each other.

        Args:
            tokens: int64 [B].
            position: int64 [B], of the token among prompt and generated tokens, from 0.
            mask: float32 [B, C], 0 where the past holds something, -inf where it does not.
            past_keys: Per layer float32 [B, N, C, D]; `past_values` likewise.

        Returns:
            Logits of the next token [B, V] and the new cache rows [B, N, 1, D].
        """
        x = self.token_position(self.token_embedding(tokens[:, None]), position[:, None])
        mask = mask[:, None, None, :]
        cache = CacheRows([], [])
        for layer, past_key, past_value in zip(self.layers, past_keys, past_values, strict=True):
            assert isinstance(layer, T2SLayer)
            x, key, value = layer.step(x, past_key, past_value, mask)
            cache.keys.append(key)
            cache.values.append(value)
        return self.head(x[:, 0]), cache

    def step_in_place(
        self,
        tokens: Tensor,
        position: Tensor,
        length: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        write: WriteRows,
    ) -> tuple[Tensor, CacheRows]:
        """Append one token to each row of caches of a fixed size; see `step`.

        Args:
            length: int64 [B], filled positions of each row.
            keys: Per layer float32 [B, N, C, D], finite everywhere; `values` likewise.

        Returns:
            Logits of the next token [B, V] and the caches as they are now.
        """
        x = self.token_position(self.token_embedding(tokens[:, None]), position[:, None])
        column = torch.arange(keys[0].shape[2], device=tokens.device)
        zero = torch.zeros((), dtype=x.dtype, device=x.device)
        mask = torch.where(column[None, :] <= length[:, None], zero, -math.inf)[:, None, None, :]
        cache = CacheRows([], [])
        for layer, layer_keys, layer_values in zip(self.layers, keys, values, strict=True):
            assert isinstance(layer, T2SLayer)
            x, key, value = layer.step_in_place(x, layer_keys, layer_values, mask, length, write)
            cache.keys.append(key)
            cache.values.append(value)
        return self.head(x[:, 0]), cache

    def forward_train(
        self,
        phonemes: Tensor,
        phoneme_lens: Tensor,
        bert: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
    ) -> Tensor:
        """Run padded training rows with the tokens given (teacher forcing).

        Args:
            phonemes: int64 [B, P], padded at the end with any id.
            phoneme_lens: int64 [B], each >= 1.
            bert: float32 [B, bert_dim, P].
            tokens: int64 [B, T], padded at the end with any id; no EOS among them.
            token_lens: int64 [B].

        Returns:
            Logits [B, T + 1, V]: column i is the prediction of token i, made from the text and the
            tokens before it; `training_targets` gives what they are compared with.
        """
        num_phonemes = phonemes.shape[1]
        x = self.embed(phonemes, bert, tokens)
        padding = torch.cat(
            (_is_padding(phonemes, phoneme_lens), _is_padding(tokens, token_lens)), dim=1
        )
        hidden_keys = torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -math.inf)
        mask = prefix_mask(num_phonemes, x.shape[1], x) + hidden_keys[:, None, None, :]
        for layer in self.layers:
            x, _, _ = layer(x, mask)
        last_text = (phoneme_lens - 1)[:, None, None].expand(-1, 1, x.shape[2])
        x = torch.cat((x[:, :num_phonemes].gather(1, last_text), x[:, num_phonemes:]), dim=1)
        logits: Tensor = self.head(x)
        return logits


def write_rows(cache: Tensor, rows: Tensor, length: Tensor) -> Tensor:
    """Return a copy of the cache with the rows in it; see `WriteRows`."""
    index = length[:, None, None, None].expand(-1, rows.shape[1], 1, rows.shape[3])
    return cache.scatter(2, index, rows)


def prefix_mask(num_phonemes: int, length: int, like: Tensor) -> Tensor:
    """Return the additive mask [S, S]: 0 where row may see column, else -inf.

    Every row sees all text; a token row also sees the tokens up to itself. A text row's own index
    is below P, so one rule covers both.
    """
    column = torch.arange(length, device=like.device)
    may_see = (column[None, :] < num_phonemes) | (column[None, :] <= column[:, None])
    zero = torch.zeros((), dtype=like.dtype, device=like.device)
    return torch.where(may_see, zero, -math.inf)


def training_targets(tokens: Tensor, token_lens: Tensor, eos: int) -> Tensor:
    """Return what `T2S.forward_train` should predict, int64 [B, T + 1].

    Args:
        tokens: int64 [B, T], padded at the end.
        token_lens: int64 [B].
        eos: The end-of-sentence id.

    Returns:
        The tokens, then EOS once, then IGNORED.
    """
    targets = F.pad(tokens, (0, 1), value=IGNORED)
    column = torch.arange(targets.shape[1], device=tokens.device)[None, :]
    targets = targets.masked_fill(column == token_lens[:, None], eos)
    return targets.masked_fill(column > token_lens[:, None], IGNORED)


def _count(ids: Tensor) -> Tensor:
    """Return the positions 0..L-1 of ids [B, L]."""
    return torch.arange(ids.shape[1], device=ids.device)


def _is_padding(ids: Tensor, lens: Tensor) -> Tensor:
    """Return bool [B, L], True behind the end of each row."""
    return _count(ids)[None, :] >= lens[:, None]
