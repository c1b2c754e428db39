"""Which of a character's readings a word wants: phrase dictionary plus our own corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Protocol

from pypinyin import Style, lazy_pinyin

from engine.text.zh.words import Token


class PinyinSource(Protocol):
    """Reads the words of a clause; see PhrasePinyin and g2pw.G2pw."""

    def read(self, tokens: Sequence[Token]) -> list[list[str]]:
        """Return one list per word, one `zhong1` per character; anything else is no syllable."""
        ...


@cache
def corrections() -> Mapping[str, tuple[str, ...]]:
    """Return words whose dictionary reading is wrong or missing, from data/zh_polyphones.txt."""
    text = files("engine.text").joinpath("data/zh_polyphones.txt").read_text(encoding="utf-8")
    table: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, *syllables = line.split()
            table[word] = tuple(syllables)
    return MappingProxyType(table)


@lru_cache(maxsize=65536)
def dictionary_pinyin(word: str) -> tuple[str, ...]:
    """Return the reading of `word` by itself, one entry per character.

    A character without a reading stands for itself.
    """
    known = corrections().get(word)
    if known is not None:
        return known
    read = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True)
    if len(read) == len(word):
        return tuple(read)
    # Characters without a reading come back in one lump.
    singles = (lazy_pinyin(c, style=Style.TONE3, neutral_tone_with_five=True) for c in word)
    return tuple(single[0] for single in singles)


def is_phrase(word: str) -> bool:
    """Whether pypinyin's dictionary lists `word`, of two characters or more, as a whole."""
    from pypinyin.phrases_dict import phrases_dict

    return len(word) > 1 and word in phrases_dict


class PhrasePinyin:
    """pypinyin's phrases, word by word: what upstream reads when g2pW is switched off."""

    def read(self, tokens: Sequence[Token]) -> list[list[str]]:
        """Return the readings of `tokens`; see PinyinSource."""
        return [list(dictionary_pinyin(token.text)) for token in tokens]
