"""The Korean frontend: written text to words with jamo as pronounced and places in the source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine.model_config import SymbolSet
from engine.text.ko.jamo import symbols
from engine.text.ko.normalize import normalize
from engine.text.ko.sounds import respelled, sounds
from engine.text.ko.tagger import mecab, tags
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import PUNCTUATION, symbol_table

BLANK = "空"  # between words
STOP = "停"  # for quotes and other signs
_LETTERS = "\u1100-\u11ff\u3131-\u3163"
_WRITTEN = re.compile(f"[가-힣{_LETTERS}]+|(?s:.)")
_SAID = re.compile(f"[{_LETTERS}]+|(?s:.)")
_MARKS: Mapping[str, str] = {
    **{mark: mark for mark in PUNCTUATION},
    **dict.fromkeys("：；，、·:;", ","),
    **dict.fromkeys("。\n", "."),
    "！": "!",
    "？": "?",
    "⋯": "…",
}


class KoreanFrontend:
    """Korean text to the phonemes of one symbol set.

    Args:
        symbol_set: The pack's inventory, v2 or later.
    """

    def __init__(self, symbol_set: SymbolSet) -> None:
        self._table = symbol_table(symbol_set)

    def normalize(
        self, text: MappedText | str, *, digits: DigitStyle = DigitStyle.AUTO
    ) -> MappedText:
        """Return `text` in words. See normalize.normalize."""
        return normalize(MappedText.of(text) if isinstance(text, str) else text, digits)

    def phonemize(
        self,
        text: MappedText | str,
        overrides: Mapping[int, str] | None = None,
        *,
        digits: DigitStyle = DigitStyle.AUTO,
    ) -> list[Spoken]:
        """Return the words and marks of `text` as spoken; the blank after a word is its last phone.

        Args:
            text: Raw or already normalized Korean.
            overrides: Pinyin by source offset, which means nothing here.
            digits: How numbers are read.
        """
        normal = self.normalize(text, digits=digits)
        words: list[Spoken] = []
        ahead: tuple[str, ...] = ()  # phones of signs before the first word
        for written, phones, start, end in self._pieces(normal):
            if _is_word(written) or written in _MARKS:
                words.append(Spoken(_MARKS.get(written, written), ahead + phones, start, end))
                ahead = ()
            elif words:
                words[-1] = words[-1]._replace(phones=words[-1].phones + phones)
            else:
                ahead += phones
        if words and _is_word(words[-1].text) and words[-1].phones[-1] not in (BLANK, STOP):
            words.append(Spoken(".", (".",), words[-1].end, words[-1].end))
        return words

    def _pieces(self, text: MappedText) -> Iterator[tuple[str, tuple[str, ...], int, int]]:
        """Yield words, marks and signs as written, with their phones and source."""
        written = respelled(text.text)
        said = _SAID.findall(sounds(written, tags(written, mecab())))
        matches = list(_WRITTEN.finditer(text.text))
        assert len(said) == len(matches), "no rule makes or swallows a blank or mark"
        for match, letters in zip(matches, said, strict=True):
            yield match.group(), self._phones(letters), *text.span(*match.span())

    def _phones(self, letters: str) -> tuple[str, ...]:
        if letters == " ":
            return (BLANK,)
        if letters in _MARKS:
            return (_MARKS[letters],)
        found = (symbol for letter in letters for symbol in symbols(letter) or STOP)
        return tuple(symbol if symbol in self._table else STOP for symbol in found)


def _is_word(text: str) -> bool:
    return text[0] > "\u1100" and text[0].isalpha()
