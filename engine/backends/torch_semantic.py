"""The T2S network in torch, over preallocated slots.

A row's logits are a function of that row alone, to the bit: the same sentence gives the same tokens
whether it is decoded alone or beside others. Three things make it so:

* Attention runs row by row on exactly the positions the row has, so no padding and no batched
  kernel is involved.
* Layer norm, ReLU and embeddings work on each row by itself.
* The linear layers run on at least MIN_ROWS rows, padded with zeros. Measured with torch 2.13 (MKL)
  on an AVX-512 EPYC, one thread, at the full-size shapes (K 512 and 2048): products of 1, 2 and 3
  rows each take a kernel of their own and differ from all others in the last bits; from 4 rows on,
  every row has the same bits for every number of rows (4 to 64 tried) and at every place in the
  batch. The price: the linear layers of 24 layers take 26 ms for 1 row (GEMV), 36 ms for 4, 42 ms
  for 8; a whole step over 140 positions 42 ms for a lone row (31 ms with GEMV), 51 for 4, 73 for 8.

The test beside this file checks the bits on whatever machine it runs on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.backends.slot_table import SlotTable
from engine.models.t2s import T2S, T2SLayer
from engine.types import FloatArray, IntArray

MIN_ROWS = 4  # see the module docstring


class TorchSemanticDecoder:
    """See `SemanticDecoder` and the module docstring.

    Attributes:
        num_slots: Rows the cache can hold.
        max_positions: Phonemes + prompt tokens + generated tokens a slot can hold.
    """

    def __init__(self, model: T2S, *, num_slots: int, max_positions: int) -> None:
        """Reserve the cache; memory is touched only as slots fill.

        Args:
            model: Weights loaded, in eval mode.
        """
        config = model.config
        head_dim = config.hidden_dim // config.num_heads
        shape = (num_slots, config.num_heads, max_positions, head_dim)
        self.num_slots = num_slots
        self.max_positions = max_positions
        self._model = model
        self._keys = [torch.empty(shape) for _ in model.layers]
        self._values = [torch.empty(shape) for _ in model.layers]
        self._slots = SlotTable(num_slots, max_positions)
        self._no_mask = torch.zeros(())

    @torch.inference_mode()
    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See `SemanticDecoder.prefill`.

        Raises:
            TextError: The sentence and its prompt do not fit a slot.
        """
        length = self._slots.prefill_length(len(phoneme_ids), len(prompt_tokens))
        if bert is None:
            bert = np.zeros((self._model.config.bert_dim, len(phoneme_ids)), dtype=np.float32)
        logits, cache = self._model.prefill(
            torch.tensor(phoneme_ids)[None],
            torch.tensor(bert)[None],
            torch.tensor(prompt_tokens)[None],
        )
        for layer, (key, value) in enumerate(zip(cache.keys, cache.values, strict=True)):
            self._keys[layer][slot, :, :length] = key[0]
            self._values[layer][slot, :, :length] = value[0]
        self._slots.fill(slot, length, len(prompt_tokens))
        return _to_numpy(logits[0])

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See `SemanticDecoder.decode`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        self._slots.next_length(slots)  # refuses a full one
        model = self._model
        num_rows = max(len(slots), MIN_ROWS)
        x = torch.zeros(num_rows, 1, model.config.hidden_dim)
        position = torch.from_numpy(self._slots.num_tokens[list(slots)])
        embedded = model.token_embedding(torch.tensor(tokens)[:, None])
        x[: len(slots)] = model.token_position(embedded, position[:, None])
        for index, layer in enumerate(model.layers):
            assert isinstance(layer, T2SLayer)
            x = self._run_layer(index, layer, x, slots)
        logits = model.head(x[:, 0])[: len(slots)]
        self._slots.append(slots)
        return _to_numpy(logits)

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See `SemanticDecoder.rewind`."""
        self._slots.rewind(slot, num_tokens)

    def release(self, slot: int) -> None:
        """See `SemanticDecoder.release`."""
        self._slots.release(slot)

    def _run_layer(self, index: int, layer: T2SLayer, x: Tensor, slots: Sequence[int]) -> Tensor:
        """Run one layer for float32 [R, 1, H], R >= the number of slots, and extend the cache."""
        query, key, value = layer.project(x)
        context = torch.zeros_like(query)
        for row, slot in enumerate(slots):
            length = self._slots.lengths[slot]
            keys, values = self._keys[index], self._values[index]
            one = slice(row, row + 1)
            context[one] = layer.attend(
                query[one],
                key[one],
                value[one],
                keys[slot : slot + 1, :, :length],
                values[slot : slot + 1, :, :length],
                self._no_mask,
            )
            keys[slot, :, length] = key[row, :, 0]
            values[slot, :, length] = value[row, :, 0]
        return layer.finish(x, context)


def _to_numpy(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.numpy()
    return array
