"""How tokens are cut into chunks."""

from __future__ import annotations

import random

import pytest

from engine.chunking import Chunk, ChunkPlan, ChunkSchedule
from engine.errors import InvalidParameter

SCHEDULE = ChunkSchedule(first_tokens=4, next_first_tokens=8, max_tokens=20, growth=2.0)


def plan(lookahead: tuple[int, int] | None = (2, 3), sentence: int = 0) -> ChunkPlan:
    """Return a plan for a new sentence."""
    return ChunkPlan(SCHEDULE, sentence_index=sentence, lookahead=lookahead)


def feed(steps: list[int], total: int, lookahead: tuple[int, int] | None) -> list[Chunk]:
    """Cut `total` tokens that become known in the given steps, then complete."""
    cutter = plan(lookahead)
    tokens = list(range(total))
    chunks = [c for count in steps for c in cutter.cut(tokens[:count], is_complete=False)]
    return chunks + cutter.cut(tokens, is_complete=True)


def test_sizes_grow_to_the_maximum() -> None:
    """The third chunk is as long as the second; a later sentence of the utterance begins larger."""
    assert [SCHEDULE.size(index, 0) for index in range(6)] == [4, 8, 8, 16, 20, 20]
    assert [SCHEDULE.size(index, 1) for index in range(4)] == [8, 16, 20, 20]
    assert SCHEDULE.size(10**6, 0) == 20


def test_a_chunk_waits_for_its_lookahead() -> None:
    """The first chunk of 4 needs 6 tokens, the second of 8 needs 12 + 3."""
    cutter = plan()
    tokens = list(range(15))
    assert cutter.missing(0) == 6
    assert cutter.cut(tokens[:5], is_complete=False) == []
    (first,) = cutter.cut(tokens[:6], is_complete=False)
    assert (first.tokens.tolist(), first.num_new) == (tokens[:6], 4)
    assert not first.is_complete and not first.is_last
    assert cutter.missing(6) == 9
    assert cutter.cut(tokens[:14], is_complete=False) == []
    (second,) = cutter.cut(tokens, is_complete=False)
    assert (len(second.tokens), second.num_new, cutter.num_planned) == (15, 8, 12)


def test_every_token_is_spoken_once_and_the_last_chunk_says_so() -> None:
    """Whatever the length, chunks cover the tokens and only the last is last."""
    for total in range(1, 80):
        chunks = feed(list(range(1, total + 1)), total, (2, 3))
        assert sum(chunk.num_new for chunk in chunks) == total
        assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].is_complete


def test_a_tail_shorter_than_the_lookahead_goes_with_the_chunk_before_it() -> None:
    """Both had to wait for the end; with one token more the chunk left before it."""
    assert [chunk.num_new for chunk in feed([], 14, (2, 3))] == [4, 10]
    assert [chunk.num_new for chunk in feed([], 15, (2, 3))] == [4, 8, 3]
    assert [chunk.num_new for chunk in feed([], 5, (2, 3))] == [5]


@pytest.mark.parametrize("lookahead", [(2, 3), (5, 5), None])
def test_the_cut_does_not_depend_on_how_fast_tokens_come(
    lookahead: tuple[int, int] | None,
) -> None:
    """A busy vocoder that finds all tokens at once gets the chunks an idle one got."""
    dice = random.Random(4)
    for total in (1, 3, 4, 6, 7, 12, 15, 16, 40, 61):
        one_by_one = feed(list(range(1, total + 1)), total, lookahead)
        some = sorted(dice.sample(range(1, total + 1), dice.randint(0, total)))
        for steps in ([], some):
            others = feed(steps, total, lookahead)
            assert [_plain(chunk) for chunk in others] == [_plain(chunk) for chunk in one_by_one]


def test_without_streaming_nothing_is_cut_before_the_end() -> None:
    """Exact mode waits for the whole sentence, then speaks it in chunks."""
    cutter = plan(None)
    assert cutter.cut(list(range(500)), is_complete=False) == []
    chunks = cutter.cut(list(range(30)), is_complete=True)
    assert [chunk.num_new for chunk in chunks] == [4, 8, 8, 10]
    assert all(chunk.is_complete and len(chunk.tokens) == 30 for chunk in chunks)


def test_bad_numbers_are_refused() -> None:
    """The message names the field."""
    with pytest.raises(InvalidParameter, match="chunks.first_tokens is 0"):
        ChunkSchedule(first_tokens=0)
    with pytest.raises(InvalidParameter, match="chunks.growth is 9"):
        ChunkSchedule(growth=9)


def _plain(chunk: Chunk) -> tuple[object, ...]:
    return chunk.tokens.tolist(), chunk.num_new, chunk.is_complete, chunk.is_last
