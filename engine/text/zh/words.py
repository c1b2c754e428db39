"""The word lists behind the tone rules, and jieba's segmentation and part-of-speech tags.

jieba is set up here by hand: its own start-up unmarshals a cache from the shared temporary folder,
which anybody on the machine may have written, and reads its dictionary twice for tags.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from engine.text import packaged
from engine.text.word_table import WordTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A word and its part of speech, in jieba's tag set."""

    text: str
    tag: str


@cache
def word_lists() -> Mapping[str, frozenset[str]]:
    """Return the lists of data/zh_words.txt by name: neutral, stressed, rhotic, syllabic."""
    lists: dict[str, set[str]] = {}
    name = ""
    for line in packaged.lines("zh_words.txt"):
        if line.startswith("["):
            name = line.strip("[]")
            lists[name] = set()
        else:
            lists[name].update(line.split())
    return MappingProxyType({key: frozenset(words) for key, words in lists.items()})


class Segmenter:
    """jieba with its standard dictionary; build once per process (0.4 s, 6 MB)."""

    def __init__(self) -> None:
        import jieba

        # Importing jieba.posseg reads the whole dictionary for its tags; here it finds it empty.
        jieba.dt.get_dict_file = io.BytesIO
        import jieba.posseg

        self._tokenizer: Any = jieba.Tokenizer()
        self._tagger: Any = jieba.posseg.POSTokenizer(jieba.dt)
        del jieba.dt.get_dict_file
        words = _read_dictionary(files("jieba").joinpath("dict.txt").read_bytes())
        self._tokenizer.FREQ, self._tokenizer.total = words, words.total
        self._tokenizer.initialized = True
        self._tagger.tokenizer, self._tagger.word_tag_tab = self._tokenizer, _Tags(words)

    def cut(self, text: str) -> list[Token]:
        """Return `text` as tagged words; joined, they are `text`."""
        return [Token(pair.word, pair.flag) for pair in self._tagger.lcut(text)]

    def halves(self, word: str) -> tuple[str, str]:
        """Return `word` in two parts, one of which is its shortest dictionary word."""
        shortest = min(self._tokenizer.cut_for_search(word), key=len)
        if word.startswith(shortest):
            return shortest, word[len(shortest) :]
        return word[: -len(shortest)], shortest


class _Frequencies:
    """jieba's FREQ: the counts of words; prefixes of words are in it too, with 0."""

    def __init__(self, table: WordTable, total: int) -> None:
        self.table = table
        self.total = total

    def __contains__(self, text: str) -> bool:
        return self.table.has_prefix(text)

    def __getitem__(self, text: str) -> int:
        return self.get(text)

    def get(self, text: str) -> int:
        """Return how often a word was counted; 0 for a mere prefix and for anything else."""
        entry = self.table.get(text)
        return 0 if entry is None else int(entry.partition(" ")[0])


class _Tags:
    """jieba's word_tag_tab."""

    def __init__(self, words: _Frequencies) -> None:
        self._table = words.table

    def get(self, word: str, otherwise: str) -> str:
        """Return the part of speech of a word."""
        entry = self._table.get(word)
        return otherwise if entry is None else entry.partition(" ")[2]


def _read_dictionary(text: bytes) -> _Frequencies:
    """Read lines `word count tag`."""
    lines = text.splitlines(keepends=True)
    total = sum(int(line.split(b" ")[1]) for line in lines)
    lines.sort()
    return _Frequencies(WordTable(b"".join(lines), b" "), total)


_lock = threading.Lock()
_segmenter: Segmenter | None = None


def segmenter() -> Segmenter:
    """Return the process's segmenter, building it on first use."""
    global _segmenter
    with _lock:
        if _segmenter is None:
            _segmenter = Segmenter()
            logger.debug("jieba dictionary loaded")
        return _segmenter
