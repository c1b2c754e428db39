"""The word lists behind the tone rules, and jieba's segmentation and part-of-speech tags.

jieba is set up here by hand: its own start-up unmarshals a cache from the shared temporary folder,
which anybody on the machine may have written, and reads its dictionary twice for tags.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A word and its part of speech, in jieba's tag set."""

    text: str
    tag: str


@cache
def word_lists() -> Mapping[str, frozenset[str]]:
    """Return the lists of data/zh_words.txt by name: neutral, stressed, rhotic, syllabic."""
    text = files("engine.text").joinpath("data/zh_words.txt").read_text(encoding="utf-8")
    lists: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            lists[name] = set()
        elif not line.startswith("#"):
            lists[name].update(line.split())
    return MappingProxyType({key: frozenset(words) for key, words in lists.items()})


class Segmenter:
    """jieba with its standard dictionary; build once per process (about a second, 100 MB)."""

    def __init__(self) -> None:
        import jieba.posseg

        self._tokenizer: Any = jieba.Tokenizer()
        self._tagger: Any = jieba.posseg.dt
        # Importing jieba.posseg has read the tags already; drop them first, so that one copy of
        # the 350 000 words serves both tables.
        self._tagger.word_tag_tab = {}
        frequencies, tags, total = _read_dictionary(files("jieba").joinpath("dict.txt"))
        self._tokenizer.FREQ, self._tokenizer.total = frequencies, total
        self._tokenizer.initialized = True
        self._tagger.tokenizer, self._tagger.word_tag_tab = self._tokenizer, tags

    def cut(self, text: str) -> list[Token]:
        """Return `text` as tagged words; joined, they are `text`."""
        return [Token(pair.word, pair.flag) for pair in self._tagger.lcut(text)]

    def halves(self, word: str) -> tuple[str, str]:
        """Return `word` in two parts, one of which is its shortest dictionary word."""
        shortest = min(self._tokenizer.cut_for_search(word), key=len)
        if word.startswith(shortest):
            return shortest, word[len(shortest) :]
        return word[: -len(shortest)], shortest


def _read_dictionary(resource: Any) -> tuple[dict[str, int], dict[str, str], int]:
    """Read jieba's dictionary: frequency by word and by prefix (0), tag by word, total count."""
    frequencies: dict[str, int] = {}
    tags: dict[str, str] = {}
    total = 0
    names: dict[str, str] = {}  # one object per tag: the file has 350 000 of them
    with resource.open(encoding="utf-8") as lines:
        for line in lines:
            word, count, tag = line.split()
            frequency = int(count)
            frequencies[word] = frequency
            tags[word] = names.setdefault(tag, tag)
            total += frequency
            for end in range(1, len(word)):
                frequencies.setdefault(word[:end], 0)
    return frequencies, tags, total


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
