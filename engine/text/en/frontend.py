"""The English frontend: written text to words with ARPAbet phones and places in the source."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.model_config import SymbolSet
from engine.text.en.g2p import EnglishG2P
from engine.text.en.normalize import normalize
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import symbol_table

_TOKEN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|[.,!?]")


class EnglishFrontend:
    """English text to the phonemes of one symbol set (all sets hold the same ARPAbet).

    Args:
        symbol_set: The pack's inventory.
    """

    def __init__(self, symbol_set: SymbolSet) -> None:
        self._table = symbol_table(symbol_set)
        self._g2p = EnglishG2P()

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
        """Return the words and marks of `text` as spoken.

        Args:
            text: Raw or already normalised English; what is neither is left out.
            overrides: Pinyin by source offset, which means nothing here.
            digits: How numbers are read.
        """
        normal = self.normalize(text, digits=digits)
        matches = list(_TOKEN.finditer(normal.text))
        phones = self._g2p.sentence([match.group() for match in matches])
        return [
            Spoken(match.group(), tuple(map(self._table.known, sound)), *normal.span(*match.span()))
            for match, sound in zip(matches, phones, strict=True)
            if sound
        ]
