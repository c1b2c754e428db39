"""The graph `choose` on a GPU: tokens are chosen where the logits are, and only they come down.

What a choice depends on goes up in one copy: noise of the request's seed, made by the host so that
a seed means the same everywhere, the tokens seen, parameters. It is made while the device computes
the logits, 18 us a row on one core of the 2-core machine, and so the choice is a launch behind the
step's and not part of it. Nothing of it is kept on the device: rows may be rewound, leave and come.

Not run on a GPU by this project yet: in tests over buffers of the host (`tests.host_tensorrt`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.backends.tensorrt_device import ALIGNMENT, DeviceEngine, FixedShape
from engine.sampling import Choice, Draw
from engine.types import Array

_BY_TOKEN = ("noise", "seen")  # [rows, vocabulary]; all other inputs and outputs are [rows]
_Kinds = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]  # name -> shape, type


class TensorrtChooser:
    """Chooses the next token of every row; captured, like the step, for some numbers of rows."""

    def __init__(
        self, engine: DeviceEngine, logits_at: int, *, vocab_size: int, row_counts: Iterable[int]
    ) -> None:
        """Allocate and capture.

        Args:
            engine: Of the graph `choose`.
            logits_at: Where the step leaves them on the device, float32 [rows, V].

        Raises:
            EngineFailed: The device refuses.
        """
        self._device = engine.device
        counts = list(row_counts)
        names = [name for name in engine.inputs if name != "logits"]

        def kinds(names: Sequence[str], rows: int) -> _Kinds:
            shape = (rows, vocab_size)
            return {n: (shape if n in _BY_TOKEN else shape[:1], engine.dtype(n)) for n in names}

        # Every number of rows has its own order in the same memory, so no copy has gaps.
        given, found = (
            np.zeros(_num_bytes(kinds(which, max(counts))), np.uint8)
            for which in (names, engine.outputs)
        )
        self._given_at = self._device.allocate(given.nbytes)
        self._found_at = self._device.allocate(found.nbytes)
        scratch = engine.scratch()  # of all: one runs at a time
        self._captured: dict[int, _Captured] = {}
        for rows in counts:
            inputs = _Packed(given, self._given_at, kinds(names, rows))
            outputs = _Packed(found, self._found_at, kinds(engine.outputs, rows))
            shapes = {name: array.shape for name, array in inputs.arrays.items()}
            graph = FixedShape(
                engine,
                {**shapes, "logits": (rows, vocab_size)},
                {**inputs.addresses, **outputs.addresses, "logits": logits_at},
                scratch,
            )
            self._captured[rows] = _Captured(graph, inputs, outputs)

    def choose(self, num_rows: int, rows: Sequence[int], draws: Sequence[Draw]) -> list[Choice]:
        """Choose from logits that are there or will be when the device comes to it.

        Args:
            num_rows: Of the step before; one of those that were captured.
            rows: Those asked for.
            draws: Of each of `rows`.
        """
        captured = self._captured[num_rows]
        given = captured.given.arrays
        captured.given.memory[:] = 0  # what others have seen
        for row, draw in zip(rows, draws, strict=True):
            given["noise"][row] = draw.noise[:]
            given["seen"][row, draw.seen] = True
            given["may_end"][row] = draw.may_end
            given["penalty"][row] = draw.params.repetition_penalty
            given["top_p"][row] = draw.params.top_p
            given["temperature"][row] = draw.params.temperature
            given["top_k"][row] = draw.params.top_k
        # Free again after the download, whatever its size: the stream has come past it then.
        self._device.upload(self._given_at, captured.given.memory)
        captured.graph.run()
        self._device.download(captured.found.memory, self._found_at)
        found = captured.found.arrays
        return [
            Choice(
                int(found["token"][row]),
                int(found["best"][row]),
                is_finite=bool(found["is_finite"][row]),
            )
            for row in rows
        ]


class _Packed:
    """Arrays in one memory of the host, and where they are in its copy on the device."""

    def __init__(self, memory: Array, at: int, kinds: _Kinds) -> None:
        self.memory = memory[: _num_bytes(kinds)]
        self.arrays: dict[str, Array] = {}
        self.addresses: dict[str, int] = {}
        place = 0
        for name, (shape, dtype) in kinds.items():
            size = int(np.prod(shape)) * dtype.itemsize
            self.arrays[name] = memory[place : place + size].view(dtype).reshape(shape)
            self.addresses[name] = at + place
            place += _aligned(size)


@dataclass(frozen=True, slots=True, eq=False)
class _Captured:
    """The graph for one number of rows, and its inputs and outputs on the host."""

    graph: FixedShape
    given: _Packed
    found: _Packed


def _num_bytes(kinds: _Kinds) -> int:
    return sum(_aligned(int(np.prod(shape)) * dtype.itemsize) for shape, dtype in kinds.values())


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
