"""Which of a character's readings a sentence wants: phrase dictionary, corrections, neighbours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Protocol

from engine.text import packaged
from engine.text.word_table import WordTable
from engine.text.zh.words import Token

PARTICLES = frozenset("的地得了着")  # neutral as a rule, so another reading must be said to be one
# Words a dictionary lists whose reading depends on the sentence all the same.
_OPEN_PHRASE = re.compile("[一二三四五六七八九十两几]行|不了")
_NOT_ADVERBIAL_TAGS = frozenset({"", "m", "q", "r", "f", "s", "p", "c", "x", "uj"})
_SUBJECT_TAGS = frozenset({"r", "nr", "d", "t", "c"})


@dataclass(frozen=True, slots=True)
class Reading:
    """How a word is read.

    Attributes:
        pinyins: One `zhong1` per character; what is no syllable stands for itself.
        fixed: Characters whose tone must not change, by index.
    """

    pinyins: tuple[str, ...]
    fixed: frozenset[int] = frozenset()


class PinyinSource(Protocol):
    """Reads the words of a clause; see PhrasePinyin, ContextPinyin and g2pw.G2pw."""

    def read(self, tokens: Sequence[Token]) -> list[Reading]:
        """Return one reading per word."""
        ...


@dataclass(frozen=True, slots=True)
class _Context:
    pinyin: str
    before: re.Pattern[str]  # searched in what comes before, anchored at its end
    after: re.Pattern[str]  # matched with what follows


def _lines(name: str) -> list[list[str]]:
    return [line.split() for line in packaged.lines(name)]


@cache
def corrections() -> Mapping[str, tuple[str, ...]]:
    """Return words whose dictionary reading is wrong or missing, from data/zh_polyphones.txt."""
    return MappingProxyType({word: tuple(rest) for word, *rest in _lines("zh_polyphones.txt")})


@cache
def _contexts() -> Mapping[str, tuple[_Context, ...]]:
    table: dict[str, list[_Context]] = {}
    for char, pinyin, before, after in _lines("zh_contexts.txt"):
        patterns = ["" if pattern == "-" else pattern for pattern in (before, after)]
        context = _Context(pinyin, re.compile(f"(?:{patterns[0]})$"), re.compile(patterns[1]))
        table.setdefault(char, []).append(context)
    return MappingProxyType({char: tuple(rows) for char, rows in table.items()})


@cache
def _phrases() -> WordTable:
    return WordTable.packaged("zh_phrases.txt.gz")


@cache
def _characters() -> WordTable:
    return WordTable.packaged("zh_readings.txt.gz")


@lru_cache(maxsize=4096)
def dictionary_pinyin(word: str) -> tuple[str, ...]:
    """Return pypinyin's reading of `word` by itself, one entry per character.

    The longest phrase at each place is read as a whole. The entry of a character without a reading
    is no syllable but the character itself.
    """
    pinyins: list[str] = []
    while (at := len(pinyins)) < len(word):
        phrase, is_cut_short = _phrase_at(word, at)
        if phrase:
            pinyins += phrase.split(" ")
            continue
        # pypinyin looks for no phrase in what could begin one; the v1 packs were trained so.
        end = len(word) if is_cut_short else at + 1
        pinyins += [_characters().get(char) or char for char in word[at:end]]
    return tuple(pinyins)


def _phrase_at(word: str, start: int) -> tuple[str, bool]:
    """Return the reading of the longest phrase at `start` and whether `word` ends within one."""
    longest = ""
    for end in range(start + 1, len(word) + 1):
        if not _phrases().has_prefix(word[start:end]):
            return longest, False
        longest = _phrases().get(word[start:end]) or longest
    return longest, True


def is_phrase(word: str) -> bool:
    """Whether a dictionary lists `word`, of two characters or more, as a whole."""
    return len(word) > 1 and (word in _phrases() or word in corrections())


class PhrasePinyin:
    """pypinyin's phrases, word by word: what upstream reads when g2pW is switched off.

    v1 packs were trained with these readings, mistakes included.
    """

    def read(self, tokens: Sequence[Token]) -> list[Reading]:
        """Return the readings of `tokens`; see PinyinSource."""
        return [Reading(dictionary_pinyin(token.text)) for token in tokens]


class ContextPinyin:
    """Phrases, our corrections of them, and rules for characters their neighbours decide.

    Stands in for g2pW, whose readings the v2 packs were trained with, where its model is not at
    hand.
    """

    def read(self, tokens: Sequence[Token]) -> list[Reading]:
        """Return the readings of `tokens`; see PinyinSource."""
        clause = "".join(token.text for token in tokens)
        readings: list[Reading] = []
        done = 0
        for index, token in enumerate(tokens):
            readings.append(self._word(token, index, tokens, clause, done))
            done += len(token.text)
        return readings

    def _word(
        self, token: Token, index: int, tokens: Sequence[Token], clause: str, offset: int
    ) -> Reading:
        word = token.text
        if len(word) > 1 and word in corrections():
            return Reading(corrections()[word])
        pinyins = list(dictionary_pinyin(word))
        if is_phrase(word) and not _OPEN_PHRASE.fullmatch(word):
            return Reading(tuple(pinyins))
        fixed = set()
        for i, char in enumerate(word):
            pinyin = _by_context(char, clause[: offset + i], clause[offset + i + 1 :])
            if pinyin is None and word == char:
                pinyin = _particle(char, tokens, index) or corrections().get(char, (None,))[0]
            elif pinyin is None and char == "得" and 0 < i < len(word) - 1:
                pinyin = "de5"  # 跑得快
            if pinyin is not None:
                pinyins[i] = pinyin
                if char in PARTICLES:
                    fixed.add(i)
        return Reading(tuple(pinyins), frozenset(fixed))


def _by_context(char: str, before: str, after: str) -> str | None:
    for context in _contexts().get(char, ()):
        if context.before.search(before) and context.after.match(after):
            return context.pinyin
    return None


def _particle(char: str, tokens: Sequence[Token], index: int) -> str | None:
    """Read 地 and 得 by the words around them."""
    if char not in "地得":
        return None
    before = tokens[index - 1].tag if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else Token("", "")
    if char == "地":
        leads = before not in _NOT_ADVERBIAL_TAGS and after.tag[:1] in {
            "v",
            "d",
            "p",
            "a",
            "z",
            "c",
        }
        return "de5" if leads or after.tag in {"", "x", "y"} else "di4"
    if before[:1] in {"v", "a"}:
        return "de5"
    if before in _SUBJECT_TAGS and after.tag[:1] in {"v", "d", "p", "c"}:
        return "de2" if after.text[0] in "到出" else "dei3"  # 你得小心
    obtains = after.text[:1] in {"了", "过", "分", "奖"} or (
        before in {"r", "nr"} and after.tag[:1] == "n"  # 他得癌症
    )
    return "de2" if obtains else "de5"
