"""Chunk sizes."""

from __future__ import annotations

from engine.chunking import ChunkSchedule


def test_the_first_chunk_is_small_and_later_ones_grow_with_the_lead() -> None:
    """Small while the listener waits, up to the maximum when seconds are in hand."""
    schedule = ChunkSchedule(first_tokens=4, min_tokens=6, max_tokens=50)
    assert schedule.next_tokens(0, 0.0) == 4
    assert schedule.next_tokens(4, 0.1) == 6
    assert schedule.next_tokens(10, 1.0) == 12
    assert schedule.next_tokens(10, 60.0) == 50


def test_a_following_sentence_starts_with_the_chunk_its_lead_allows() -> None:
    """Sentence two need not be cut small while sentence one is still playing."""
    assert ChunkSchedule().next_tokens(0, 2.0) == 25
