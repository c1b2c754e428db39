"""Every new frame is heard once, with a whole halo, in calls of few lengths."""

from __future__ import annotations

import pytest

from engine.chunking import ChunkPlan, ChunkSchedule
from engine.decoder_pieces import Piece, cut_pieces

HALO = 11
WIDTHS = (16, 28, 50)


def heard(pieces: list[Piece]) -> list[int]:
    """Return the frames that are heard, in order."""
    return [frame for piece in pieces for frame in range(piece.start + piece.skip, piece.end)]


@pytest.mark.parametrize("widths", [(), WIDTHS])
def test_new_frames_are_heard_once_and_in_order(widths: tuple[int, ...]) -> None:
    """Whatever is behind them and ahead of them, and no call sees less than there is to see."""
    for past in (0, 1, 10, HALO, 26, 27):
        for new in range(1, 260):
            for ahead in (0, 3, HALO):
                pieces = cut_pieces(past, new, ahead, halo=HALO, widths=widths)
                assert heard(pieces) == list(range(past, past + new))
                for piece in pieces:
                    assert piece.start >= 0
                    assert piece.before == min(HALO, piece.start)
                    assert piece.after == min(HALO, past + new + ahead - piece.end)


def test_without_widths_it_is_one_call() -> None:
    """Of any length."""
    assert cut_pieces(3, 37, 5, halo=HALO, widths=()) == [Piece(3, 40, 3, 5, 0)]


def test_the_cheapest_lengths_are_taken() -> None:
    """Frames that are decoded again against calls more."""
    cut = [cut_pieces(27, new, 0, halo=HALO, widths=WIDTHS) for new in (50, 40, 2, 100)]
    assert [[p.end - p.start for p in pieces] for pieces in cut] == [[50], [28, 16], [16], [50, 50]]


def test_a_server_meets_few_combinations_of_lengths() -> None:
    """Each is compiled once and kept for ever: sentences of any length, first or later."""
    met: dict[tuple[int, int, int], int] = {}
    for sentence_index in (0, 1):
        for num_tokens in range(25, 250):
            for key in calls(sentence_index, num_tokens):
                met[key] = met.get(key, 0) + 1
    assert len(met) <= 14, sorted(met)


def calls(sentence_index: int, num_tokens: int) -> list[tuple[int, int, int]]:
    """Return the lengths of a sentence's calls: before, frames, after."""
    plan = ChunkPlan(ChunkSchedule(), sentence_index=sentence_index, lookahead=(4, 4))
    tokens: list[int] = []
    chunks = []
    for token in range(num_tokens):
        tokens.append(token)
        chunks += plan.cut(tokens, is_complete=False)
    chunks += plan.cut(tokens, is_complete=True)
    found, frozen = [], 0
    for chunk in chunks:
        new = 2 * chunk.num_new
        ahead = min(HALO, 2 * len(chunk.tokens) - frozen - new)
        past = min(frozen, HALO + WIDTHS[0])
        pieces = cut_pieces(past, new, ahead, halo=HALO, widths=WIDTHS)
        found += [(p.before, p.end - p.start, p.after) for p in pieces]
        frozen += new
    return found
