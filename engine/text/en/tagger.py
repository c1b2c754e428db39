"""Part-of-speech tags (Penn Treebank) for the words of a sentence, to tell heteronyms apart.

A greedy averaged perceptron over word shape and the two tags before. The weights are those of
textblob-aptagger 0.2.0 (MIT, see data/NOTICE.md), rounded to tenths; features and weights belong
together, so the feature names below are part of the data format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from engine.text.word_table import WordTable

# Sorted: the order breaks ties.
_TAGS = (
    "# $ '' , -LRB- -RRB- . : CC CD DT EX FW IN JJ JJR JJS LS MD NN NNP NNPS NNS PDT POS PRP PRP$ "
    "RB RBR RBS RP SYM TO UH VB VBD VBG VBN VBP VBZ WDT WP WP$ WRB ``"
).split()
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


class Tagger:
    """An averaged perceptron.

    Args:
        weights: By feature, `TAG WEIGHT TAG WEIGHT ...`.
        common: Words that have one tag nearly always.
    """

    def __init__(self, weights: WordTable, common: WordTable) -> None:
        self._weights = weights
        self._common = common

    def tag(self, words: Sequence[str]) -> list[str]:
        """Return one tag per word of a sentence; punctuation marks are words too."""
        context = [*_START, *map(_shape, words), *_END]
        before, before2 = _START
        tags: list[str] = []
        for index, word in enumerate(words):
            tag = self._common.get(word)
            if tag is None:
                tag = self._best(_features(word, context, index + 2, before, before2))
            tags.append(tag)
            before2, before = before, tag
        return tags

    def _best(self, features: Iterator[str]) -> str:
        scores = dict.fromkeys(_TAGS, 0.0)
        for feature in features:
            numbers = (self._weights.get(feature) or "").split()
            for tag, weight in zip(numbers[::2], numbers[1::2], strict=True):
                scores[tag] += float(weight)
        return max(_TAGS, key=lambda tag: (scores[tag], tag))


@cache
def tagger() -> Tagger:
    """Return the packaged tagger, read on demand: 5 MB, which most texts do not need."""
    return Tagger(
        WordTable.packaged("en_tagger.txt.gz"), WordTable.packaged("en_common_tags.txt.gz")
    )
