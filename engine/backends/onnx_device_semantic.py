"""The T2S graphs over a KV cache that never leaves its device.

Every layer's keys and values are one buffer on the device, [slots, heads, capacity, head size],
bound to the step graph as input and as output: the graph writes the new rows where they are
(TensorScatter), so nothing of the cache is copied and every address stays. Token, position and
length are all a step needs from the host, logits all it gives back.

Runs on a CUDA device in service; on the CPU in tests, where the graphs and the binding are the
same. It has not been run on a GPU by this project yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from engine.backends.onnx_session import PrefillInputs, input_names
from engine.backends.slot_table import SlotTable
from engine.model_config import T2SConfig
from engine.types import FloatArray, IntArray


class OnnxDeviceSemantic:
    """See `SemanticDecoder` and the module docstring."""

    def __init__(
        self,
        config: T2SConfig,
        prefill: ort.InferenceSession,
        step: ort.InferenceSession,
        fill: ort.InferenceSession,
        *,
        num_slots: int,
        max_positions: int,
        device: str = "cuda",
    ) -> None:
        """Allocate the cache.

        Args:
            step: The graph `step_in_place`.
            fill: Puts one layer of a prefill into its slot.
            device: As ONNX Runtime names it: cuda or cpu.
        """
        self.num_slots = num_slots
        self.max_positions = max_positions
        self._config = config
        self._device = device
        self._prefill, self._step, self._fill = prefill, step, fill
        self._prefill_inputs = PrefillInputs(input_names(prefill), config)
        self._slots = SlotTable(num_slots, max_positions)
        head_dim = config.hidden_dim // config.num_heads
        self._shape = (num_slots, config.num_heads, max_positions, head_dim)
        # Zeros, because masked positions must be finite; an array each, because on the CPU the
        # value is the array and not a copy of it.
        self._cache: list[Any] = [
            ort.OrtValue.ortvalue_from_numpy(np.zeros(self._shape, np.float32), device, 0)
            for _ in range(2 * config.num_layers)
        ]

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See `SemanticDecoder.prefill`.

        Raises:
            TextError: The sentence and its prompt do not fit a slot.
        """
        length = self._slots.prefill_length(len(phoneme_ids), len(prompt_tokens))
        inputs = self._prefill_inputs(phoneme_ids, bert, prompt_tokens)
        binding = self._prefill.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        logits, *rows = (value.name for value in self._prefill.get_outputs())
        binding.bind_output(logits, "cpu")
        for name in rows:
            binding.bind_output(name, self._device)
        self._prefill.run_with_iobinding(binding)
        made = binding.get_outputs()
        for cache, new in zip(self._cache, made[1:], strict=True):
            self._put(cache, new, slot)
        self._slots.fill(slot, length, len(prompt_tokens))
        first: FloatArray = made[0].numpy()[0]
        return first

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See `SemanticDecoder.decode`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        self._slots.next_length(slots)
        num_rows = max(slots) + 1
        given = np.zeros(num_rows, np.int64)
        given[list(slots)] = tokens
        # A row that was not asked for writes behind what it holds, where its next token will.
        length = np.minimum(self._slots.lengths[:num_rows], self.max_positions - 1)
        binding = self._step.io_binding()
        binding.bind_cpu_input("tokens", given)
        binding.bind_cpu_input("position", self._slots.num_tokens[:num_rows].copy())
        binding.bind_cpu_input("length", length.astype(np.int64))
        binding.bind_output("logits", "cpu")  # bound first, so it comes back first
        shape = (num_rows, *self._shape[1:])
        caches = [value.name for value in self._step.get_inputs()[3:]]
        for name, cache in zip(caches, self._cache, strict=True):
            place = (self._device, 0, np.float32, shape, cache.data_ptr())
            binding.bind_input(name, *place)
            binding.bind_output(f"{name}_now", *place)
        self._step.run_with_iobinding(binding)
        self._slots.append(slots)
        logits: FloatArray = binding.get_outputs()[0].numpy()
        return logits[list(slots)]

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See `SemanticDecoder.rewind`."""
        self._slots.rewind(slot, num_tokens)

    def release(self, slot: int) -> None:
        """See `SemanticDecoder.release`."""
        self._slots.release(slot)

    def _put(self, cache: Any, rows: Any, slot: int) -> None:
        """Write one layer of a prefill into its slot, in place."""
        binding = self._fill.io_binding()
        place = (self._device, 0, np.float32, self._shape, cache.data_ptr())
        binding.bind_input("cache", *place)
        binding.bind_ortvalue_input("rows", rows)
        binding.bind_cpu_input("slot", np.array([slot], np.int64))
        binding.bind_output("cache_now", *place)
        self._fill.run_with_iobinding(binding)
