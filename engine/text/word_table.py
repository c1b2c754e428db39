"""A word list in memory as its file: a hundred thousand words cost their bytes, not a dict.

A table is lines `WORD SEPARATOR VALUE`, sorted by their bytes. The first word of every block of
lines is kept beside it; a look-up finds the block among those and the line within the block, both
in C: about a microsecond. A dict of the same words takes ten times the memory and has to be built
at every start.
"""

from __future__ import annotations

import gzip
from bisect import bisect_right
from collections.abc import Iterator
from typing import Self

from engine.text import packaged

_BLOCK = 1024  # bytes


class WordTable:
    """Values by word.

    Args:
        lines: Sorted lines `WORD SEPARATOR VALUE`, each with its line end.
        separator: One byte, which must sort before every byte of a word: tab or blank.
    """

    def __init__(self, lines: bytes, separator: bytes = b"\t") -> None:
        self._separator = separator
        self._size = lines.count(b"\n")
        # With a line end before every line too, what is found between two is a whole line.
        self._data = b"\n" + lines
        self._first: list[bytes] = []
        self._starts: list[int] = []
        at = 0
        while 0 <= at < len(lines):
            self._first.append(lines[at : lines.index(separator, at)])
            self._starts.append(at)
            at = lines.find(b"\n", at + _BLOCK) + 1 or len(lines)
        self._starts.append(len(lines))

    @classmethod
    def packaged(cls, name: str) -> Self:
        """Return the table in data/NAME: sorted lines with tabs, gzipped."""
        return cls(gzip.decompress(packaged.read(name)))

    def __len__(self) -> int:
        return self._size

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._find(_encoded(word)) >= 0

    def __iter__(self) -> Iterator[str]:
        for line in self._data.splitlines()[1:]:
            yield line.partition(self._separator)[0].decode()

    def get(self, word: str) -> str | None:
        """Return the value of `word`, or None if it is not listed."""
        key = _encoded(word)
        at = self._find(key)
        if at < 0:
            return None
        start = at + len(key) + 2
        return self._data[start : self._data.index(b"\n", start)].decode()

    def has_prefix(self, prefix: str) -> bool:
        """Tell whether a word begins with `prefix`, or is it."""
        key = _encoded(prefix)
        block = bisect_right(self._first, key)
        if block < len(self._first) and self._first[block].startswith(key):
            return True
        return block > 0 and self._data.find(b"\n" + key, *self._span(block - 1)) >= 0

    def _find(self, key: bytes) -> int:
        """Return the place of the line end before the line of `key`, or -1."""
        block = bisect_right(self._first, key)
        if block == 0 or self._separator in key or b"\n" in key:
            return -1
        return self._data.find(b"\n" + key + self._separator, *self._span(block - 1))

    def _span(self, block: int) -> tuple[int, int]:
        return self._starts[block], self._starts[block + 1] + 1


def _encoded(text: str) -> bytes:
    """Return the bytes of any string; half a surrogate pair is in no table, but is no error."""
    return text.encode("utf-8", "surrogatepass")
