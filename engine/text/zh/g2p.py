"""Characters to phonemes: segment, read, change tones, merge 儿, spell."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from engine.text.symbols import PUNCTUATION, UNKNOWN, SymbolTable
from engine.text.zh.erhua import merge_erhua
from engine.text.zh.pinyin import parse_syllable
from engine.text.zh.polyphones import (
    ContextPinyin,
    PhrasePinyin,
    PinyinSource,
    dictionary_pinyin,
)
from engine.text.zh.tone_sandhi import change_tones, merge_words
from engine.text.zh.words import Segmenter, Token, segmenter

logger = logging.getLogger(__name__)

# Sandhi does not reach across a pause.
_CLAUSE = re.compile("[^{0}]*[{0}]?".format("".join(re.escape(mark) for mark in PUNCTUATION)))


class Pronouncer:
    """Reads normalized Chinese text in the symbols of one inventory.

    Args:
        table: The pack's phoneme inventory. v1 packs were trained without merged 儿.
        source: Chooses the readings; if None, the ones the packs were trained with as well as
            they can be had without a model.
        words: The segmenter; the process's own if None, loaded on first use.
    """

    def __init__(
        self,
        table: SymbolTable,
        source: PinyinSource | None = None,
        words: Segmenter | None = None,
    ) -> None:
        self._table = table
        is_v1 = table.symbol_set == "v1"
        self._source = source or (PhrasePinyin() if is_v1 else ContextPinyin())
        self._words = words
        self._merges_erhua = not is_v1

    def phones(self, text: str, fixed: Mapping[int, str] | None = None) -> list[tuple[str, ...]]:
        """Return the phonemes of every character of `text`.

        Args:
            text: Han characters and the marks of PUNCTUATION.
            fixed: Readings (`hang2`) given by the caller, by character index; spoken as given,
                without tone changes.

        Returns:
            Two symbols for a syllable, one for a mark or for a character nobody can read (UNK).
        """
        spoken: list[tuple[str, ...]] = []
        for match in _CLAUSE.finditer(text):
            if clause := match[0]:
                offset = match.start()
                given = {i - offset: py for i, py in (fixed or {}).items() if i >= offset}
                spoken.extend(self._clause(clause, given))
        assert len(spoken) == len(text)
        return spoken

    def _clause(self, clause: str, fixed: Mapping[int, str]) -> list[tuple[str, ...]]:
        words = self._words or segmenter()
        tokens = merge_words(words.cut(clause), _dictionary_tones)
        spoken: list[tuple[str, ...]] = []
        for token, reading in zip(tokens, self._source.read(tokens), strict=True):
            at = len(spoken)
            pinyins = [fixed.get(at + i, pinyin) for i, pinyin in enumerate(reading.pinyins)]
            given = [at + i in fixed or i in reading.fixed for i in range(len(pinyins))]
            spoken.extend(self._word(token, pinyins, given, words))
        return spoken

    def _word(
        self, token: Token, pinyins: Sequence[str], given: Sequence[bool], words: Segmenter
    ) -> list[tuple[str, ...]]:
        syllables = [parse_syllable(pinyin) for pinyin in pinyins]
        own = [syllable.tone if syllable else 0 for syllable in syllables]
        tones = change_tones(token, own, words)
        if self._merges_erhua and syllables[-1] is not None and syllables[-1].final == "er":
            tones = merge_erhua(token, tones)
        return [
            self._spell(char, syllable.phones(own_tone if fixed else tone) if syllable else None)
            for char, syllable, tone, own_tone, fixed in zip(
                token.text, syllables, tones, own, given, strict=True
            )
        ]

    def _spell(self, char: str, phones: tuple[str, str] | None) -> tuple[str, ...]:
        if phones is not None:
            return tuple(self._table.known(phone) for phone in phones)
        if char in PUNCTUATION:
            return (char,)
        logger.info("no reading for U+%04X, spoken as %s", ord(char), UNKNOWN)
        return (UNKNOWN,)


def _dictionary_tones(word: str) -> list[int]:
    syllables = (parse_syllable(pinyin) for pinyin in dictionary_pinyin(word))
    return [syllable.tone if syllable else 0 for syllable in syllables]
