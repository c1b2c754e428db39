"""Which positions of a slot are filled, and what it may attend to."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.slot_table import MaskedSlotTable, SlotTable
from engine.errors import EngineFailed, TextError


def visible(table: MaskedSlotTable, slot: int) -> int:
    """Return how many positions a slot sees; they must be its first ones."""
    row = table.mask[slot]
    count = int((row == 0).sum())
    assert (row[:count] == 0).all() and np.isneginf(row[count:]).all()
    return count


def test_a_slot_sees_what_it_holds() -> None:
    """Through prefill, steps, a rewind, a growing cache, release and the next sentence."""
    table = MaskedSlotTable(3, 100)
    table.resize(8)
    table.fill(1, 5, 2)
    table.append([1])
    assert (visible(table, 0), visible(table, 1), table.next_length([1])) == (0, 6, 7)
    table.resize(16)
    table.append([1])
    table.append([1])
    assert (visible(table, 1), table.lengths, table.num_tokens.tolist()) == (
        8,
        [0, 8, 0],
        [0, 5, 0],
    )
    table.rewind(1, 2)
    assert (visible(table, 1), table.num_tokens[1]) == (6, 3)
    table.fill(2, 9, 0)
    assert table.next_length([1, 2]) == 10
    table.release(1)
    assert (visible(table, 1), visible(table, 2)) == (0, 9)
    table.fill(1, 3, 1)
    assert visible(table, 1) == 3


def test_what_does_not_fit_is_refused() -> None:
    """Before the prefill as the caller's text, in a step as our own mistake."""
    table = SlotTable(2, 10)
    assert table.prefill_length(5, 4) == 9
    with pytest.raises(TextError, match="6 phonemes and 4 prompt tokens do not fit") as caught:
        table.prefill_length(6, 4)
    assert caught.value.code == "text_too_long"
    table.fill(0, 9, 4)
    assert table.next_length([0]) == 10
    table.append([0])
    with pytest.raises(EngineFailed, match="slot 0 is full: 10 positions"):
        table.next_length([0])
