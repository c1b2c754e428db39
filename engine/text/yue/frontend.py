"""The Cantonese frontend: written text to characters with symbols and places in the source."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from engine.model_config import SymbolSet
from engine.text.han import HAN
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import PUNCTUATION, symbol_table
from engine.text.yue.jyutping import symbols
from engine.text.yue.normalize import normalize

logger = logging.getLogger(__name__)

_IS_HAN = re.compile(f"[{HAN}]")


@cache
def _module() -> Any:
    import ToJyutping

    return ToJyutping


class CantoneseFrontend:
    """Cantonese text to the phonemes of one symbol set.

    Args:
        symbol_set: The pack's inventory, v2 or later.
    """

    def __init__(self, symbol_set: SymbolSet) -> None:
        self._table = symbol_table(symbol_set)

    def normalize(
        self, text: MappedText | str, *, digits: DigitStyle = DigitStyle.AUTO
    ) -> MappedText:
        """Return `text` in words; foreign words stay as they are. See normalize.normalize."""
        return normalize(MappedText.of(text) if isinstance(text, str) else text, digits)

    def phonemize(
        self,
        text: MappedText | str,
        overrides: Mapping[int, str] | None = None,
        *,
        digits: DigitStyle = DigitStyle.AUTO,
    ) -> list[Spoken]:
        """Return the characters and marks of `text` as spoken.

        Args:
            text: Raw or already normalized Cantonese. Foreign words have no place here and are
                left out.
            overrides: Pinyin by source offset, which means nothing here.
            digits: How numbers are read.
        """
        normal = self.normalize(text, digits=digits)
        words: list[Spoken] = []
        for index, reading in enumerate(self._readings(normal.text)):
            char, place = normal.text[index], normal.span(index, index + 1)
            if char in PUNCTUATION:
                if not words or words[-1].text not in PUNCTUATION:
                    words.append(Spoken(char, (char,), *place))
            elif reading:
                words.append(Spoken(char, reading, *place))
        return words

    def _readings(self, text: str) -> list[tuple[str, ...]]:
        """Return the symbols of every character, () for what is no ideograph."""
        pairs = _module().get_jyutping_list(text)
        assert [char for char, _ in pairs] == list(text), "one reading per character"
        return [self._symbols(char, reading) for char, reading in pairs]

    def _symbols(self, char: str, reading: str | None) -> tuple[str, ...]:
        if not _IS_HAN.match(char):
            return ()
        found = [symbols(syllable) for syllable in (reading or "").split()]
        if not found or None in found:
            logger.info("dropped U+%04X: it has no Cantonese reading", ord(char))
            return ()
        return tuple(self._table.known(symbol) for pair in found if pair for symbol in pair)
