"""The T2S graphs over one preallocated KV cache.

All keys and values are one array, [2 * layers, slots, heads, capacity, head size]. A slot is a
row; a step runs over rows 0 .. R-1, R - 1 being the highest row asked for, so every input of the
graph is a contiguous slice of the cache and nothing is copied. Rows that were not asked for are
computed and ignored. The graph reads the past through a mask and returns only the new rows, which
are then written in place.

`capacity` is a multiple of CAPACITY_STEP and grows with the longest sentence, so that short ones do
not attend over an empty maximum.

A row's logits have the same bits alone and beside others: ONNX Runtime's CPU kernels sum a row in
one order whatever the number of rows (1 to 8 tried), and masked positions add exact zeros. The test
beside this file checks it on whatever machine it runs on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from engine.backends.memory import trim, zeros
from engine.backends.onnx_session import PrefillInputs, input_names
from engine.backends.slot_table import MaskedSlotTable
from engine.model_config import T2SConfig
from engine.types import Array, FloatArray, IntArray

CAPACITY_STEP = 128  # a multiple of every kernel's block, so a wider past only adds exact zeros


class OnnxSemantic:
    """See `SemanticDecoder` and the module docstring.

    Attributes:
        capacity: Positions the cache has room for now.
    """

    def __init__(
        self,
        config: T2SConfig,
        prefill: ort.InferenceSession,
        step: ort.InferenceSession,
        *,
        num_slots: int,
        max_positions: int,
    ) -> None:
        self.num_slots = num_slots
        self.max_positions = max_positions
        self._config = config
        self._prefill = prefill
        self._step = step
        self._prefill_inputs = PrefillInputs(input_names(prefill), config)
        self._slots = MaskedSlotTable(num_slots, max_positions)
        self._binding: _Binding | None = None
        self._cache: FloatArray = np.zeros((0,), np.float32)
        self._allocate(CAPACITY_STEP)

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See `SemanticDecoder.prefill`.

        Raises:
            TextError: The sentence and its prompt do not fit a slot.
        """
        length = self._slots.prefill_length(len(phoneme_ids), len(prompt_tokens))
        logits, *rows = self._prefill.run(
            None, self._prefill_inputs(phoneme_ids, bert, prompt_tokens)
        )
        self._reserve(length + 1)
        for layer, row in enumerate(rows):
            self._cache[layer, slot, :, :length] = row[0]
        self._slots.fill(slot, length, len(prompt_tokens))
        first: FloatArray = logits[0]
        return first

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See `SemanticDecoder.decode`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        self._reserve(self._slots.next_length(slots))
        num_rows = max(slots) + 1
        binding = self._bound(num_rows)
        binding.tokens[:] = 0
        binding.tokens[list(slots)] = tokens
        binding.position[:] = self._slots.num_tokens[:num_rows]
        self._step.run_with_iobinding(binding.io)
        for slot in slots:
            self._cache[:, slot, :, self._slots.lengths[slot]] = binding.new_rows[:, slot, :, 0]
        self._slots.append(slots)
        return binding.logits[list(slots)]

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See `SemanticDecoder.rewind`."""
        self._slots.rewind(slot, num_tokens)

    def release(self, slot: int) -> None:
        """See `SemanticDecoder.release`."""
        self._slots.release(slot)
        if not any(self._slots.lengths) and self.capacity > CAPACITY_STEP:
            self._allocate(CAPACITY_STEP)
            trim()  # nobody is being served: what the last sentences needed goes back

    def _reserve(self, positions: int) -> None:
        """Make room for `positions` in every slot."""
        if positions > self.capacity:
            self._allocate(-(-positions // CAPACITY_STEP) * CAPACITY_STEP)

    def _allocate(self, capacity: int) -> None:
        """Move to a cache of another capacity, keeping what is in use."""
        config = self._config
        head_dim = config.hidden_dim // config.num_heads
        shape = (2 * config.num_layers, self.num_slots, config.num_heads, capacity, head_dim)
        cache = zeros(shape)  # masked positions must be finite
        for slot, length in enumerate(self._slots.lengths):
            if length:
                cache[:, slot, :, :length] = self._cache[:, slot, :, :length]
        self._slots.resize(capacity)
        self._cache, self.capacity = cache, capacity
        self._binding = None

    def _bound(self, num_rows: int) -> _Binding:
        if self._binding is None or len(self._binding.tokens) != num_rows:
            mask = self._slots.mask
            self._binding = _Binding(self._step, self._config, self._cache, mask, num_rows)
        return self._binding


class _Binding:
    """The step graph's inputs and outputs tied to fixed buffers for one number of rows."""

    def __init__(
        self,
        session: ort.InferenceSession,
        config: T2SConfig,
        cache: FloatArray,
        mask: FloatArray,
        num_rows: int,
    ) -> None:
        layers, _, heads, _, head_dim = cache.shape
        self.tokens = np.zeros(num_rows, np.int64)
        self.position = np.zeros(num_rows, np.int64)
        self.logits = np.empty((num_rows, config.vocab_size), np.float32)
        self.new_rows = np.empty((layers, num_rows, heads, 1, head_dim), np.float32)
        self.io = session.io_binding()
        names = [value.name for value in session.get_inputs()]
        inputs: list[Array] = [self.tokens, self.position, mask[:num_rows]]
        inputs += [cache[layer, :num_rows] for layer in range(layers)]
        for name, array in zip(names, inputs, strict=True):
            self.io.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        outputs = [self.logits, *self.new_rows]
        for value, array in zip(session.get_outputs(), outputs, strict=True):
            self.io.bind_output(value.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
