"""Part-of-speech tags (Penn Treebank) for the words of a sentence, to tell heteronyms apart.

A greedy averaged perceptron over word shape and the two tags before. The weights are those of
textblob-aptagger 0.2.0 (MIT, see data/NOTICE.md), rounded to tenths; features and weights belong
together, so the feature names below are part of the data format.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_START = ("-START-", "-START2-")
_END = ("-END-", "-END2-")


def _shape(word: str) -> str:
    if "-" in word and word[0] != "-":
        return "!HYPHEN"
    if word.isdigit() and len(word) == 4:
        return "!YEAR"
    return "!DIGITS" if word[0].isdigit() else word.lower()


def _features(
    word: str, context: Sequence[str], at: int, before: str, before2: str
) -> Iterator[str]:
    """Yield the active features of `context[at]`, whose two previous tags are given."""
    yield "bias"
    yield f"i suffix {word[-3:]}"
    yield f"i pref1 {word[0]}"
    yield f"i-1 tag {before}"
    yield f"i-2 tag {before2}"
    yield f"i tag+i-2 tag {before} {before2}"
    yield f"i word {context[at]}"
    yield f"i-1 tag+i word {before} {context[at]}"
    yield f"i-1 word {context[at - 1]}"
    yield f"i-1 suffix {context[at - 1][-3:]}"
    yield f"i-2 word {context[at - 2]}"
    yield f"i+1 word {context[at + 1]}"
    yield f"i+1 suffix {context[at + 1][-3:]}"
    yield f"i+2 word {context[at + 2]}"


@dataclass(frozen=True, slots=True)
class Tagger:
    """An averaged perceptron.

    Attributes:
        weights: Feature to tag to weight.
        common: Words that have one tag nearly always.
        tags: Every tag, sorted: the order breaks ties.
    """

    weights: Mapping[str, Mapping[str, float]]
    common: Mapping[str, str]
    tags: tuple[str, ...]

    def tag(self, words: Sequence[str]) -> list[str]:
        """Return one tag per word of a sentence; punctuation marks are words too."""
        context = [*_START, *map(_shape, words), *_END]
        before, before2 = _START
        tags: list[str] = []
        for index, word in enumerate(words):
            tag = self.common.get(word)
            if tag is None:
                tag = self._best(_features(word, context, index + 2, before, before2))
            tags.append(tag)
            before2, before = before, tag
        return tags

    def _best(self, features: Iterator[str]) -> str:
        scores: dict[str, float] = dict.fromkeys(self.tags, 0.0)
        for feature in features:
            for tag, weight in self.weights.get(feature, {}).items():
                scores[tag] += weight
        return max(self.tags, key=lambda tag: (scores[tag], tag))


@cache
def tagger() -> Tagger:
    """Return the packaged tagger; reading it takes 0.3 s and 60 MB, so it is read on demand."""
    packed = files("engine.text").joinpath("data/en_tagger.json.gz").read_bytes()
    data = json.loads(gzip.decompress(packed))
    return Tagger(data["weights"], data["common"], tuple(data["tags"]))
