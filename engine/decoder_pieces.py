"""Frames to be heard, cut into decoder calls of few lengths.

OpenVINO compiles a graph anew for every combination of lengths it has not met (100 ms with a
full-size HiFi-GAN, twice a chunk's own time) and keeps what it made (40 MB each). Sentences end
anywhere, so a server would meet a new length with nearly every sentence. Frames decoded twice cost
less: the last ones of the chunk before fill a call up to its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# What a call costs beyond its frames, in frames: 18 ms at 4.65 ms each (full-size HiFi-GAN, bf16).
_CALL_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """One call of the decoder, in frames of the window the pieces were cut from.

    Attributes:
        start, end: The frames that come out.
        before, after: Frames of context beyond them.
        skip: Of what comes out, frames that are heard already.
    """

    start: int
    end: int
    before: int
    after: int
    skip: int


def cut_pieces(past: int, new: int, ahead: int, *, halo: int, widths: Sequence[int]) -> list[Piece]:
    """Cut a window of `past` + `new` + `ahead` frames so that its new frames are heard in order.

    Args:
        past: Frames heard already; fewer than `halo` + the smallest width mean that the window
            begins with the sentence.
        ahead: Frames known beyond the new ones.
        halo: Frames of context a call needs each side.
        widths: Lengths of calls, ascending; none: one call of whatever length.

    Returns:
        Calls of these lengths, but for frames so near to the sentence's beginning that there is
        no past to begin in.
    """
    end = past + new
    known = end + ahead
    if widths and past == 0:
        # Long enough for the next call to reach back into it and see a whole halo still.
        first = next((width for width in widths if width >= halo + widths[0]), new)
        if first < new:
            begun = Piece(0, first, 0, min(halo, known - first), 0)
            rest = cut_pieces(first, new - first, ahead, halo=halo, widths=widths)
            return [begun, *rest]
    lengths = _cheapest(new, tuple(widths)) if widths and past else (new,)
    if sum(lengths) > end:
        lengths = (new,)
    pieces: list[Piece] = []
    start = end - sum(lengths)
    skip = past - start
    for length in lengths:  # the last one ends the new frames: all others see a whole halo ahead
        stop = start + length
        pieces.append(Piece(start, stop, min(halo, start), min(halo, known - stop), skip))
        start, skip = stop, 0
    return pieces


@cache
def _cheapest(frames: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths, largest first, that cover `frames` at the least cost.

    They cover fewer than the smallest width too much.
    """
    if frames <= 0:
        return ()
    plans = [
        (width, *_cheapest(frames - width, widths))
        for width in widths
        if width - frames < widths[0]
    ]
    best = min(plans, key=lambda plan: sum(plan) + _CALL_FRAMES * len(plan))
    return tuple(sorted(best, reverse=True))
