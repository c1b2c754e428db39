"""Which characters each word of OpenJTalk was written with."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from engine.text.ja.openjtalk import Morph

_REACH = 24  # characters a respelled number may have been written with


def spans(piece: str, morphs: Sequence[Morph]) -> list[tuple[int, int]]:
    """Return the half-open range of `piece` for every morph.

    Words that are not found as written, as the 十 of 20, share what lies between their neighbours.
    """
    plain = "".join(_folded(char) for char in piece)
    found: list[tuple[int, int] | None] = []
    at = 0
    for morph in morphs:
        surface = "".join(_folded(char) for char in morph.surface)
        start = plain.find(surface, at) if surface else -1
        # What is skipped must be that of words just before, which were respelled.
        if start < 0 or (
            start > at and (not found or found[-1] is not None or start - at > _REACH)
        ):
            found.append(None)
            continue
        at = start + len(surface)
        found.append((start, at))
    return [
        span if span is not None else _between(found, index, len(piece))
        for index, span in enumerate(found)
    ]


def _folded(char: str) -> str:
    """Return `char` half-width and in lower case where that is one character too."""
    plain = unicodedata.normalize("NFKC", char).lower()
    return plain if len(plain) == 1 else char


def _between(found: Sequence[tuple[int, int] | None], index: int, length: int) -> tuple[int, int]:
    before = [span[1] for span in found[:index] if span is not None]
    after = [span[0] for span in found[index + 1 :] if span is not None]
    return (before[-1] if before else 0), (after[0] if after else length)
