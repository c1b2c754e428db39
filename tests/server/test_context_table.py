"""Contexts by id and alias; what the protocol does with them is in test_protocol."""

from __future__ import annotations

from server.context_table import MAX_FINISHED, ContextTable, State
from server.settings import Settings


def test_a_reused_id_finds_the_open_context_first() -> None:
    """The finished one of the same id is found when nothing is open, and ends apart from it."""
    forgotten: list[int] = []
    table = ContextTable(forgotten.append)
    first = table.add("a", Settings(), is_resumable=False)
    table.finish(first, State.DONE)
    assert (len(table), table.active("a"), table.recent("a")) == (0, None, first)
    second = table.add("a", Settings(), is_resumable=False)
    assert table.recent("a") is second
    table.finish(first, State.CANCELLED)
    assert (forgotten, table.recent("a")) == ([1], second)
    assert list(table) == [second]


def test_memory_is_bounded() -> None:
    """Forgotten contexts are reported once."""
    forgotten: list[int] = []
    table = ContextTable(forgotten.append)
    for number in range(MAX_FINISHED + 3):
        table.finish(table.add(str(number), Settings(), is_resumable=True), State.DONE)
    assert forgotten == [1, 2, 3]
    assert len(table.resumable()) == MAX_FINISHED
    table.finish(table.add("5", Settings(), is_resumable=True), State.DONE)
    assert forgotten[3:] == [6]
