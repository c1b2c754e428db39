"""How a sentence's tokens are cut into chunks: small first, then larger and larger.

A small chunk leaves sooner but spends more on context: the prior sees the history once per chunk,
flow and decoder repeat their halos. So chunks grow; only the third of an utterance is as long as
the second, because models begin with silence, which is left out: often the end of the second chunk
is all the listener has in hand while the third one is made.

Sizes depend on the position in the sentence and on nothing else: where a sentence is cut decides
what the prior encoder sees, so a size that followed the clock would make a sentence sound different
on a busy server. A tail shorter than the lookahead goes with the chunk before it, which had to wait
for the sentence's end anyway.

Chunks end growing at 25 tokens: what a sentence's last tokens leave to be made when they are there
is what its listener, or the caller who wants all of it, waits for at the end. 25 tokens are 50
frames, the longest call of a decoder that is best called with few lengths, so the longest chunks
are one call each and not two: a full-size pack's acoustic networks take 1.22 s of one core for a
sentence of 4.4 s, and 1.28 s up to 28 tokens.

Each chunk may be `growth` times as long as the one before, so an engine that needs less than
1 / growth of real time always has the next chunk before the last one has been played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import InvalidParameter
from engine.types import IntArray


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """Chunk sizes in tokens (40 ms each)."""

    first_tokens: int = 5  # of an utterance: the listener waits
    next_first_tokens: int = 8  # of its later sentences: something is still playing
    max_tokens: int = 25
    growth: float = 1.7

    def __post_init__(self) -> None:
        for name, low, high in (
            ("first_tokens", 1, 100),
            ("next_first_tokens", 1, 100),
            ("max_tokens", 1, 200),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidParameter(f"chunks.{name}", value, f"an integer from {low} to {high}")
        if not 1.0 <= self.growth <= 4.0:
            raise InvalidParameter("chunks.growth", self.growth, "a number from 1 to 4")

    def size(self, chunk_index: int, sentence_index: int) -> int:
        """Return the size of a sentence's chunk, both counted from 0."""
        first, times = self.next_first_tokens, chunk_index
        if sentence_index == 0:
            first, times = self.first_tokens, chunk_index - (chunk_index > 1)
        # Beyond this many chunks every growth > 1 has reached the maximum.
        return min(self.max_tokens, round(first * self.growth ** min(times, 64)))


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A piece of work for the vocoder, complete in itself.

    Attributes:
        tokens: int64 [T], the sentence's tokens up to the end of the chunk's lookahead.
        num_new: How many are spoken by this chunk.
        is_complete: `tokens` are all there will ever be.
        is_last: The chunk ends the sentence.
    """

    tokens: IntArray
    num_new: int
    is_complete: bool
    is_last: bool


class ChunkPlan:
    """Cuts the tokens of one sentence as they come."""

    def __init__(
        self, schedule: ChunkSchedule, *, sentence_index: int, lookahead: tuple[int, int] | None
    ) -> None:
        """Begin a sentence.

        Args:
            lookahead: Tokens that must be known beyond the first chunk and beyond any other; None
                when the whole sentence must be.
        """
        self._schedule = schedule
        self._sentence_index = sentence_index
        self._lookahead = lookahead
        self._num_chunks = 0
        self._next_size = schedule.size(0, sentence_index)
        self.num_planned = 0  # tokens in chunks so far; they can no longer change

    def missing(self, num_tokens: int) -> int:
        """Return how many more tokens the next chunk needs, 0 when only the end is waited for."""
        if self._lookahead is None:
            return 0
        return max(0, self._next_end() + self._ahead() - num_tokens)

    def next_size(self) -> int:
        """Return the size the next chunk will have if the sentence is long enough."""
        return self._next_size

    def cut(self, tokens: Sequence[int], *, is_complete: bool) -> list[Chunk]:
        """Return the chunks that `tokens` allow and earlier calls have not returned."""
        chunks: list[Chunk] = []
        while self.num_planned < len(tokens):
            end = self._next_end()
            known = len(tokens) + 1 if self._lookahead is None else end + self._ahead()
            if known > len(tokens):
                if not is_complete:
                    break
                known = len(tokens)
                if self._lookahead is not None or end > known:
                    end = known  # with the tail; without a lookahead everything would be one
                chunk = Chunk(_array(tokens), end - self.num_planned, True, end == len(tokens))
            else:
                # Cut where it would have been cut had the later tokens not been known yet.
                chunk = Chunk(_array(tokens[:known]), end - self.num_planned, False, False)
            chunks.append(chunk)
            self._num_chunks += 1
            self._next_size = self._schedule.size(self._num_chunks, self._sentence_index)
            self.num_planned = end
        return chunks

    def _next_end(self) -> int:
        return self.num_planned + self._next_size

    def _ahead(self) -> int:
        assert self._lookahead is not None
        return self._lookahead[0 if self._num_chunks == 0 else 1]


def _array(tokens: Sequence[int]) -> IntArray:
    return np.array(tokens, dtype=np.int64)
