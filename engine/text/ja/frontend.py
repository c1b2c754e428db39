"""The Japanese frontend: written text to words with phones, pitch marks and source places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from engine.model_config import SymbolSet
from engine.text.han import HAN
from engine.text.ja.align import spans
from engine.text.ja.normalize import normalize
from engine.text.ja.openjtalk import Morph, analyse
from engine.text.ja.prosody import PAUSE, moras
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import PUNCTUATION, symbol_table

# What OpenJTalk reads; everything else is a mark between two pieces it gets. Upstream lacks the
# rarer ideographs and the full-width point.
_PIECE = re.compile(
    rf"[A-Za-z\d\u3005\u3040-\u30ff{HAN}\uff0e\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9d]+"
)
_MARKS: Mapping[str, str] = {
    **{mark: mark for mark in PUNCTUATION},
    **dict.fromkeys("：；，、·､", ","),
    **dict.fromkeys("。｡\n", "."),
    "！": "!",
    "？": "?",
    "⋯": "…",
}
_UNNAMED = "UNK"  # what upstream speaks quotes and other signs as: a border of phrases


class JapaneseFrontend:
    """Japanese text to the phonemes of one symbol set.

    Args:
        symbol_set: The pack's inventory.
    """

    def __init__(self, symbol_set: SymbolSet) -> None:
        self._table = symbol_table(symbol_set)

    def normalize(
        self, text: MappedText | str, *, digits: DigitStyle = DigitStyle.AUTO
    ) -> MappedText:
        """Return `text` with signs in words and numbers in full-width digits, which OpenJTalk
        reads with their counters. See normalize.normalize.
        """
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
            text: Raw or already normalized Japanese.
            overrides: Pinyin by source offset, which means nothing here.
            digits: How numbers are read.
        """
        normal = self.normalize(text, digits=digits)
        words: list[Spoken] = []
        done = 0
        for match in _PIECE.finditer(normal.text):
            words += self._marks(normal[done : match.start()])
            words += self._piece(normal[match.start() : match.end()])
            done = match.end()
        return [*words, *self._marks(normal[done:])]

    def _marks(self, text: MappedText) -> Iterator[Spoken]:
        for index, char in enumerate(text.text):
            if not char.isspace() or char == "\n":
                phone = _MARKS.get(char, _UNNAMED)
                shown = phone if phone in PUNCTUATION else char
                yield Spoken(shown, (phone,), *text.span(index, index + 1))

    def _piece(self, text: MappedText) -> Iterator[Spoken]:
        """Return the words OpenJTalk finds in `text`, each with its moras."""
        morphs, labels = analyse(text.text)
        groups = moras(labels)
        if sum(morph.num_moras for morph in morphs) != sum(g != [PAUSE] for g in groups):
            morphs = [Morph(text.text, sum(g != [PAUSE] for g in groups))]
        places = spans(text.text, morphs)
        at = 0
        for morph, (start, end) in zip(morphs, places, strict=True):
            stop = _past(groups, at, morph.num_moras)
            phones = tuple(self._table.known(p) for group in groups[at:stop] for p in group)
            at = stop
            if phones:
                yield Spoken(morph.surface, phones, *text.span(start, end))


def _past(groups: Sequence[Sequence[str]], at: int, num_moras: int) -> int:
    """Return where in `groups` the next word begins, the pauses after this one included."""
    while at < len(groups) and (num_moras > 0 or groups[at] == [PAUSE]):
        num_moras -= groups[at] != [PAUSE]
        at += 1
    return at
