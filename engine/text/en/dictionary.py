"""The pronouncing dictionary, read once per process.

CMUdict 0.7b with the words only its later releases have, and our own additions in
`data/en_extra.txt`, which go before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from engine.text import packaged
from engine.text.word_table import WordTable

ARPABET = frozenset(
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 "
    "ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 "
    "P R S SH T TH UH0 UH1 UH2 UW0 UW1 UW2 V W Y Z ZH".split()
)
LETTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        letter: tuple(phones.split())
        for letter, _, phones in (
            entry.partition(" ")
            for entry in (
                "a EY1,b B IY1,c S IY1,d D IY1,e IY1,f EH1 F,g JH IY1,h EY1 CH,i AY1,j JH EY1,"
                "k K EY1,l EH1 L,m EH1 M,n EH1 N,o OW1,p P IY1,q K Y UW1,r AA1 R,s EH1 S,t T IY1,"
                "u Y UW1,v V IY1,w D AH1 B AH0 L Y UW0,x EH1 K S,y W AY1,z Z IY1"
            ).split(",")
        )
    }
)


class Dictionary:
    """Words in lower case to ARPAbet, with how common each is.

    Args:
        words: By word, its phones and its frequency, with a tab between them.
        extra: Phones of words that are not in `words`, or wrong there.
    """

    def __init__(self, words: WordTable, extra: Mapping[str, str]) -> None:
        self._words = words
        self._extra = extra

    def __contains__(self, word: object) -> bool:
        return word in self._extra or word in self._words

    def __len__(self) -> int:
        return len(self._words) + sum(word not in self._words for word in self._extra)

    def __iter__(self) -> Iterator[str]:
        yield from self._words
        yield from (word for word in self._extra if word not in self._words)

    def get(self, word: str) -> tuple[str, ...] | None:
        """Return the phones of `word` (lower case), or None if it is not listed."""
        if extra := self._extra.get(word):
            return tuple(extra.split())
        entry = self._words.get(word)
        return None if entry is None else tuple(entry.partition("\t")[0].split())

    def frequency(self, word: str) -> int:
        """Return ten times the decimal logarithm of how common `word` is, about 0 to 65.

        0 for a word no corpus count is known of; "the" has 63, "livestream" parts about 40.
        """
        entry = self._words.get(word)
        return 0 if entry is None else int(entry.partition("\t")[2] or 0)


@cache
def dictionary() -> Dictionary:
    """Return the packaged dictionary."""
    extra = (line.partition(" ") for line in packaged.lines("en_extra.txt"))
    words = WordTable.packaged("en_dict.txt.gz")
    return Dictionary(words, {word: phones for word, _, phones in extra})
