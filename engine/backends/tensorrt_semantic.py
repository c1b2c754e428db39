"""The T2S graphs on a GPU: the cache stays on the device, a step is one captured CUDA graph.

Every layer's keys and values are one buffer, [slots, heads, positions, head size], in the precision
of the engine. The graph `step_in_place` writes the new rows where they are, so a step is one upload
of three numbers a row and one launch. The tokens are chosen from its logits where they are
(`tensorrt_choice`); only the first of a sentence is drawn on the host, from a prefill's.

The engine has one profile. Its rows vary within it: a captured graph has fixed ones, so there is
one for 1, 2, 4 .. rows, all of them with the same addresses. They are captured before the first
sentence, for that takes as long as hundreds of steps.

Not run on a GPU by this project yet: in tests over buffers of the host (`tests.host_tensorrt`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.backends.onnx_session import PrefillInputs
from engine.backends.slot_table import SlotTable
from engine.backends.tensorrt_choice import TensorrtChooser
from engine.backends.tensorrt_device import (
    ALIGNMENT,
    DeviceEngine,
    DeviceGraph,
    FixedShape,
    Rows,
)
from engine.errors import CheckpointError
from engine.model_config import T2SConfig
from engine.sampling import Choice, Draw
from engine.types import FloatArray, IntArray

_NUMBERS = ("tokens", "position", "length")  # the inputs of a step beside its cache
_LINE = ALIGNMENT // 8  # int64 numbers from one aligned address to the next


class TensorrtSemantic:
    """See `ChoosingDecoder` and the module docstring."""

    def __init__(
        self,
        config: T2SConfig,
        prefill: DeviceEngine,
        step: DeviceEngine,
        choose: DeviceEngine,
        *,
        num_slots: int,
        max_positions: int,
    ) -> None:
        """Allocate the cache and capture every step and choice.

        Args:
            step: Of the graph `step_in_place` with `max_positions` as its capacity.

        Raises:
            CheckpointError: The step would not write into the cache it is given.
            EngineFailed: The device refuses, as when its memory does not suffice.
        """
        self.num_slots = num_slots
        self.max_positions = max_positions
        self._config = config
        self._device = step.device
        self._prefill = DeviceGraph(prefill)
        self._prefill_inputs = PrefillInputs(prefill.inputs, config)
        self._slots = SlotTable(num_slots, max_positions)
        self._names = [
            f"{kind}_{layer}" for kind in ("key", "value") for layer in range(config.num_layers)
        ]
        _check_caches(prefill, step, self._names)
        self._row_bytes = config.hidden_dim // config.num_heads * step.dtype("key_0").itemsize
        size = num_slots * config.num_heads * max_positions * self._row_bytes
        # Zeroed: what is masked is multiplied too, and must be finite.
        cache = {name: self._device.allocate(size) for name in self._names}
        self._cache = [cache[name] for name in self._names]
        # Tokens, positions and lengths in one buffer, each from an aligned address on.
        self._numbers = np.zeros((len(_NUMBERS), -(-num_slots // _LINE) * _LINE), np.int64)
        self._logits = np.empty((num_slots, config.vocab_size), np.float32)
        self._numbers_at = self._device.allocate(self._numbers.nbytes)
        self._logits_at = self._device.allocate(self._logits.nbytes)
        self._steps = self._capture(step, cache)
        assert choose.dtype("logits") == step.dtype("logits") == self._logits.dtype
        self._chooser = TensorrtChooser(
            choose, self._logits_at, vocab_size=config.vocab_size, row_counts=self._steps
        )

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See `SemanticDecoder.prefill`.

        Raises:
            TextError: The sentence and its prompt do not fit a slot.
        """
        length = self._slots.prefill_length(len(phoneme_ids), len(prompt_tokens))
        self._prefill.enqueue(self._prefill_inputs(phoneme_ids, bert, prompt_tokens))
        heads, width = self._config.num_heads, length * self._row_bytes
        pitch = self.max_positions * self._row_bytes
        for address, name in zip(self._cache, self._names, strict=True):
            target = Rows(address + slot * heads * pitch, pitch)
            self._device.copy_rows(target, Rows(self._prefill.address(name), width), width, heads)
        logits: FloatArray = self._prefill.output("logits")[0]
        self._slots.fill(slot, length, len(prompt_tokens))
        return logits

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See `SemanticDecoder.decode`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        num_rows = self._start(slots, tokens)
        self._device.download(self._logits[:num_rows], self._logits_at)
        self._slots.append(slots)
        return self._logits[list(slots)]

    def choose(
        self, slots: Sequence[int], tokens: IntArray, draws: Sequence[Draw]
    ) -> Sequence[Choice]:
        """See `ChoosingDecoder.choose`.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        choices = self._chooser.choose(self._start(slots, tokens), slots, draws)
        self._slots.append(slots)
        return choices

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See `SemanticDecoder.rewind`."""
        self._slots.rewind(slot, num_tokens)

    def release(self, slot: int) -> None:
        """See `SemanticDecoder.release`."""
        self._slots.release(slot)

    def _start(self, slots: Sequence[int], tokens: IntArray) -> int:
        """Start a step and return of how many rows; no slot has the tokens yet."""
        self._slots.next_length(slots)
        num_rows = next(count for count in self._steps if count > max(slots))
        self._numbers[0] = 0
        self._numbers[0, list(slots)] = tokens
        self._numbers[1, : self.num_slots] = self._slots.num_tokens
        # A row that was not asked for writes behind what it holds, where its next token will.
        self._numbers[2, : self.num_slots] = self._slots.lengths
        np.minimum(self._numbers[2], self.max_positions - 1, out=self._numbers[2])
        self._device.upload(self._numbers_at, self._numbers)
        self._steps[num_rows].run()
        return num_rows

    def _capture(self, step: DeviceEngine, cache: dict[str, int]) -> dict[int, FixedShape]:
        """Return number of rows -> the step of so many, ascending."""
        scratch = step.scratch()  # of all: one runs at a time
        line = self._numbers.strides[0]
        addresses = {
            **{name: self._numbers_at + place * line for place, name in enumerate(_NUMBERS)},
            "logits": self._logits_at,
            **cache,
            **{f"{name}_now": address for name, address in cache.items()},
        }
        head_dim = self._config.hidden_dim // self._config.num_heads
        shape = (self._config.num_heads, self.max_positions, head_dim)
        return {
            rows: FixedShape(
                step,
                {
                    **dict.fromkeys(_NUMBERS, (rows,)),
                    **dict.fromkeys(self._names, (rows, *shape)),
                },
                addresses,
                scratch,
            )
            for rows in row_counts(self.num_slots)
        }


def row_counts(num_slots: int) -> list[int]:
    """Return the numbers of rows a step is captured for: powers of two, and all of them."""
    return [*(1 << power for power in range((num_slots - 1).bit_length())), num_slots]


def _check_caches(prefill: DeviceEngine, step: DeviceEngine, names: Sequence[str]) -> None:
    for name in names:
        written = step.engine.get_aliased_input_tensor(f"{name}_now")
        if written != name:
            raise CheckpointError(
                f"{step.path.name} writes {name} into {written or 'memory of its own'}, not into "
                "the cache; remove it and it is built again"
            )
        assert prefill.dtype(name) == step.dtype(name), f"{name} is copied as it is"
