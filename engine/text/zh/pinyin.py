"""Pinyin syllables and the phonemes the packs know them by.

A syllable is written as everywhere else: letters and a tone digit, `lv4` for lǜ, 5 for neutral.
The inventory is opencpop's strict one: an initial (or one of AA, EE, OO, y, w where there is none)
and a final that carries the tone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from engine.text import packaged

_SYLLABLE = re.compile(r"([a-zêü]+)([1-5])")
# Spellings with the umlaut written out after j, q, x, y; the dots are not written there.
_UMLAUT_DROPPED = re.compile(r"^([jqxy])v")


@dataclass(frozen=True, slots=True)
class Syllable:
    """One Mandarin syllable in phoneme names, the tone apart.

    Attributes:
        initial: First phoneme, e.g. `zh` or `AA`.
        final: Second phoneme without its tone, e.g. `ir`.
        tone: 1 to 4, 5 for neutral.
    """

    initial: str
    final: str
    tone: int

    def phones(self, tone: int) -> tuple[str, str]:
        """Return the two phonemes, spoken with `tone` instead of the syllable's own."""
        return self.initial, f"{self.final}{tone}"


@cache
def _inventory() -> Mapping[str, tuple[str, str]]:
    rows = (line.split(" ") for line in packaged.lines("zh_pinyin.txt"))
    return MappingProxyType({letters: (initial, final) for letters, initial, final in rows})


@cache
def parse_syllable(pinyin: str) -> Syllable | None:
    """Return the syllable spelled `pinyin` (`zhong1`), or None if Mandarin has no such syllable."""
    match = _SYLLABLE.fullmatch(pinyin.strip().lower().replace("u:", "v"))
    if match is None:
        return None
    letters = _UMLAUT_DROPPED.sub(r"\1u", match[1].replace("ü", "v").replace("ê", "ei"))
    phones = _inventory().get(letters)
    return None if phones is None else Syllable(*phones, int(match[2]))
