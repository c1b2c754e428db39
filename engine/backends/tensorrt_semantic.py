"""The T2S graphs on a GPU: the cache stays on the device, a step is one captured CUDA graph.

Every bucket of rows and capacity has buffers of fixed addresses, so its graph is captured once and
launched from then on; tokens, positions and mask are data. New key and value rows are copied into
the cache after it, whose place depends on each sentence's length. Sampling stays on the host: a row
of logits is 4 kB.

Not run on a GPU by this project yet; see `tensorrt_device`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.backends.slot_table import MaskedSlotTable
from engine.backends.tensorrt_build import Range
from engine.backends.tensorrt_device import DeviceEngine, DeviceGraph, Rows
from engine.model_config import T2SConfig
from engine.types import Array, FloatArray, IntArray

_FLOAT = 4  # bytes


class TensorrtSemantic:
    """See `SemanticDecoder` and the module docstring."""

    def __init__(
        self,
        config: T2SConfig,
        prefill: DeviceEngine,
        step: DeviceEngine,
        buckets: Sequence[dict[str, Range]],
        *,
        num_slots: int,
        max_positions: int,
    ) -> None:
        self.num_slots = num_slots
        self.max_positions = max_positions
        self._config = config
        self._device = step.device
        self._prefill = DeviceGraph(prefill)
        self._has_bert = "bert" in prefill.inputs
        self._step = step
        self._profiles = {
            (bucket["rows"].max, bucket["past"].max): index for index, bucket in enumerate(buckets)
        }
        self._row_counts = sorted({rows for rows, _ in self._profiles})
        self._capacities = sorted({past for _, past in self._profiles})
        self._slots = MaskedSlotTable(num_slots, max_positions)
        self._capacity = 0
        self._cache: list[int] = []
        self._captured: dict[int, _Bucket] = {}
        self._grow(self._capacities[0])

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See `SemanticDecoder.prefill`.

        Raises:
            TextError: The sentence and its prompt do not fit a slot.
        """
        length = self._slots.prefill_length(len(phoneme_ids), len(prompt_tokens))
        inputs: dict[str, Array] = {
            "phoneme_ids": phoneme_ids[None],
            "prompt_tokens": prompt_tokens[None],
        }
        if self._has_bert:
            zeros = np.zeros((self._config.bert_dim, len(phoneme_ids)), np.float32)
            inputs["bert"] = (zeros if bert is None else bert)[None]
        self._prefill.enqueue(inputs)
        self._reserve(length + 1)
        for index, name in enumerate(self._names("")):
            source = Rows(self._prefill.address(name), length * self._row_bytes)
            self._device.copy_rows(
                self._rows_of(index, slot, 0), source, length * self._row_bytes, self._heads
            )
        self._slots.fill(slot, length, len(prompt_tokens))
        logits: FloatArray = self._prefill.output("logits")[0]
        return logits

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See `SemanticDecoder.decode`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        self._reserve(self._slots.next_length(slots))
        num_rows = next(count for count in self._row_counts if count > max(slots))
        bucket = self._bucket(num_rows)
        bucket.tokens[:] = 0
        bucket.tokens[list(slots)] = tokens
        bucket.position[:] = self._slots.num_tokens[:num_rows]
        bucket.run(self._slots.mask[:num_rows])
        for slot in slots:
            position = self._slots.lengths[slot]
            for index, address in enumerate(bucket.new_rows):
                source = Rows(address + slot * self._heads * self._row_bytes, self._row_bytes)
                target = self._rows_of(index, slot, position)
                self._device.copy_rows(target, source, self._row_bytes, self._heads)
        self._slots.append(slots)
        return bucket.read_logits()[list(slots)]

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See `SemanticDecoder.rewind`."""
        self._slots.rewind(slot, num_tokens)

    def release(self, slot: int) -> None:
        """See `SemanticDecoder.release`."""
        self._slots.release(slot)

    @property
    def _heads(self) -> int:
        return self._config.num_heads

    @property
    def _row_bytes(self) -> int:
        return self._config.hidden_dim // self._heads * _FLOAT

    def _names(self, prefix: str) -> list[str]:
        layers = range(self._config.num_layers)
        return [f"{prefix}{kind}_{layer}" for kind in ("key", "value") for layer in layers]

    def _rows_of(self, index: int, slot: int, position: int) -> Rows:
        """Return a slot's place in one tensor of the cache, a row per head."""
        pitch = self._capacity * self._row_bytes
        offset = slot * self._heads * pitch + position * self._row_bytes
        return Rows(self._cache[index] + offset, pitch)

    def _reserve(self, positions: int) -> None:
        if positions > self._capacity:
            self._grow(next(size for size in self._capacities if size >= positions))

    def _grow(self, capacity: int) -> None:
        """Move to a larger cache, keeping what is in use."""
        old, old_capacity = self._cache, self._capacity
        num_bytes = self.num_slots * self._heads * capacity * self._row_bytes
        cache = [self._device.allocate(num_bytes) for _ in self._names("")]
        for address, target in zip(old, cache, strict=bool(old)):
            source = Rows(address, old_capacity * self._row_bytes)
            rows = self.num_slots * self._heads
            pitch = capacity * self._row_bytes
            self._device.copy_rows(Rows(target, pitch), source, source.pitch, rows)
        self._device.synchronize()
        for address in old:
            self._device.free(address)
        self._slots.resize(capacity)
        for bucket in self._captured.values():
            bucket.close()
        self._captured.clear()  # their graphs hold the old addresses
        self._cache, self._capacity = cache, capacity

    def _bucket(self, num_rows: int) -> _Bucket:
        if num_rows not in self._captured:
            profile = self._profiles[num_rows, self._capacity]
            self._captured[num_rows] = _Bucket(
                self._step,
                profile,
                (num_rows, self._config.vocab_size, self._capacity),
                dict(zip(self._names(""), self._cache, strict=True)),
                {name: num_rows * self._heads * self._row_bytes for name in self._names("new_")},
            )
        return self._captured[num_rows]


class _Bucket:
    """The step at one shape: its buffers, and its captured graph."""

    def __init__(
        self,
        step: DeviceEngine,
        profile: int,
        sizes: tuple[int, int, int],
        cache: dict[str, int],
        new_rows: dict[str, int],
    ) -> None:
        num_rows, vocab_size, capacity = sizes
        device = step.device
        self._step, self._device, self._context = step, device, step.context(profile)
        self.tokens, self.position = np.zeros((2, num_rows), np.int64)
        self._logits = np.empty((num_rows, vocab_size), np.float32)
        own = {
            "tokens": self.tokens.nbytes,
            "position": self.position.nbytes,
            "mask": num_rows * capacity * _FLOAT,
            "logits": self._logits.nbytes,
            **new_rows,
        }
        self._own = {name: device.allocate(size) for name, size in own.items()}
        self.new_rows = [self._own[name] for name in new_rows]
        # One shape per bucket, so the profile itself names every shape.
        for name in step.inputs:
            self._context.set_input_shape(
                name, step.engine.get_tensor_profile_shape(name, profile)[2]
            )
        for name, address in {**self._own, **cache}.items():
            self._context.set_tensor_address(name, address)
        self._graph: Any = None

    def run(self, mask: FloatArray) -> None:
        """Upload what changes and launch."""
        for name, array in (("tokens", self.tokens), ("position", self.position), ("mask", mask)):
            self._device.upload(self._own[name], np.ascontiguousarray(array))
        self._device.synchronize()
        if self._graph is None:
            self._step.enqueue(self._context)  # TensorRT allocates on its first run
            self._device.synchronize()
            self._graph = self._device.capture(lambda: self._step.enqueue(self._context))
            return
        self._device.launch(self._graph)

    def read_logits(self) -> FloatArray:
        """Return the logits of all rows, as a copy."""
        self._device.download(self._logits, self._own["logits"])
        return self._logits.copy()

    def close(self) -> None:
        """Give the buffers back."""
        for address in self._own.values():
            self._device.free(address)
