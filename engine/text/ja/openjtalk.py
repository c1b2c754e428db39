"""What OpenJTalk says about a piece of Japanese: its words and its full-context labels.

The package is imported with the first sentence: it takes 80 MB and a second, mostly for parts of it
that are not used here. Its own rewriting of readings and accents is left out (`use_vanilla`): the
checkpoints learnt from OpenJTalk as it is, and a sentence takes a fifth of the time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_LABEL = re.compile(
    r"-(?P<phone>[^-+]+)\+.*?"
    r"/A:(?P<to_accent>-?\d+|xx)\+(?P<at>\d+|xx)\+(?P<left>\d+|xx)/.*?"
    r"/F:(?P<moras>\d+|xx)_"
)
_UNKNOWN = -50  # of a pause: equal to no count


@dataclass(frozen=True, slots=True)
class Label:
    """One phone in its accent phrase.

    Attributes:
        phone: OpenJTalk's name; "sil" at both ends of a piece, "pau" for a pause.
        to_accent: Moras from the accent nucleus, 0 on it.
        at: Which mora of the phrase this is, from 1.
        left: Moras to the end of the phrase, 1 in the last.
        moras: How many moras the phrase has.
    """

    phone: str
    to_accent: int
    at: int
    left: int
    moras: int

    @classmethod
    def parse(cls, text: str) -> Label:
        """Return the label that an HTS full-context line describes."""
        match = _LABEL.search(text)
        assert match is not None, f"no full-context label: {text}"
        fields = (match["to_accent"], match["at"], match["left"], match["moras"])
        counts = [_UNKNOWN if field == "xx" else int(field) for field in fields]
        return cls(match["phone"], *counts)


@dataclass(frozen=True, slots=True)
class Morph:
    """One word as OpenJTalk cuts it.

    Attributes:
        surface: As written, in full-width characters; numbers are respelled in kanji.
        num_moras: How many moras it is read with, 0 for a mark.
    """

    surface: str
    num_moras: int


@cache
def _module() -> Any:
    import pyopenjtalk

    return pyopenjtalk


def analyse(piece: str) -> tuple[Sequence[Morph], Sequence[Label]]:
    """Return the words of `piece` and its labels, silences at both ends included."""
    features = _module().run_frontend(piece, use_vanilla=True)
    labels = [Label.parse(line) for line in _module().make_label(features)]
    return [Morph(f["string"], int(f["mora_size"])) for f in features], labels
