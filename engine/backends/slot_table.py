"""What a KV cache of slots holds: the bookkeeping that every semantic decoder needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import EngineFailed, TextError
from engine.types import FloatArray


class SlotTable:
    """Filled positions of each slot.

    Attributes:
        lengths: Positions filled, phonemes and tokens; 0 = free.
        num_tokens: int64 [slots], prompt and generated tokens among them: the next one's position.
    """

    def __init__(self, num_slots: int, max_positions: int) -> None:
        self._max_positions = max_positions
        self.lengths = [0] * num_slots
        self.num_tokens = np.zeros(num_slots, np.int64)

    def prefill_length(self, num_phonemes: int, num_prompt_tokens: int) -> int:
        """Return the positions a prefill takes.

        Raises:
            TextError: They leave no room for a token.
        """
        length = num_phonemes + num_prompt_tokens
        if length >= self._max_positions:
            raise TextError(
                f"{num_phonemes} phonemes and {num_prompt_tokens} prompt tokens do not fit a slot "
                f"of {self._max_positions} positions; shorten the sentence or the reference",
                code="text_too_long",
            )
        return length

    def next_length(self, slots: Sequence[int]) -> int:
        """Return the positions the longest of `slots` has after one more token.

        Raises:
            EngineFailed: A slot is full; the caller was to stop before.
        """
        for slot in slots:
            assert self.lengths[slot] > 0, f"slot {slot} was not prefilled"
            if self.lengths[slot] >= self._max_positions:
                raise EngineFailed(f"slot {slot} is full: {self._max_positions} positions")
        return max(self.lengths[slot] for slot in slots) + 1

    def fill(self, slot: int, length: int, num_tokens: int) -> None:
        """Note a prefill."""
        self.lengths[slot] = length
        self.num_tokens[slot] = num_tokens

    def append(self, slots: Sequence[int]) -> None:
        """Note one more token in each of `slots`."""
        for slot in slots:
            self.lengths[slot] += 1
            self.num_tokens[slot] += 1

    def rewind(self, slot: int, num_tokens: int) -> None:
        """Note that the last tokens of a slot are forgotten."""
        self.lengths[slot] -= num_tokens
        self.num_tokens[slot] -= num_tokens

    def release(self, slot: int) -> None:
        """Note that a slot is free."""
        self.lengths[slot] = 0
        self.num_tokens[slot] = 0


class MaskedSlotTable(SlotTable):
    """A table with the additive mask of what each slot may attend to.

    Attributes:
        mask: float32 [slots, capacity]: 0 on filled positions, -inf elsewhere. A free slot attends
            to its own new position only.
    """

    def __init__(self, num_slots: int, max_positions: int) -> None:
        super().__init__(num_slots, max_positions)
        self.mask: FloatArray = np.zeros((num_slots, 0), np.float32)

    def resize(self, capacity: int) -> None:
        """Change how many positions the mask has; what is filled must fit."""
        self.mask = np.full((len(self.lengths), capacity), -np.inf, np.float32)
        for slot, length in enumerate(self.lengths):
            self.mask[slot, :length] = 0.0

    def fill(self, slot: int, length: int, num_tokens: int) -> None:
        """See SlotTable."""
        super().fill(slot, length, num_tokens)
        self._mask(slot)

    def append(self, slots: Sequence[int]) -> None:
        """See SlotTable."""
        for slot in slots:
            self.mask[slot, self.lengths[slot]] = 0.0
        super().append(slots)

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See SlotTable."""
        super().rewind(slot, num_tokens)
        self._mask(slot)

    def release(self, slot: int) -> None:
        """See SlotTable."""
        super().release(slot)
        self._mask(slot)

    def _mask(self, slot: int) -> None:
        self.mask[slot, : self.lengths[slot]] = 0.0
        self.mask[slot, self.lengths[slot] :] = -np.inf
