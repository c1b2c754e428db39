"""Rhotic endings: 儿 that is part of the syllable before it takes that syllable's tone.

The v2 packs were trained with 儿 written as a syllable of its own, `EE er`, in the tone of the
syllable it colours (花儿 is the exception that is read out); v1 packs know no merging.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.text.zh.words import Token, word_lists

_SPOKEN_OUT_TAGS = frozenset({"a", "j", "nr"})  # adjectives, abbreviations, names: 宝儿
_ER = "儿"


def merge_erhua(token: Token, tones: Sequence[int]) -> list[int]:
    """Return the tones of `token` with a final 儿 merged into what it follows.

    Args:
        token: A word as `tone_sandhi.merge_words` left it.
        tones: One per character.
    """
    word, spoken = token.text, list(tones)
    if word[-1] != _ER:
        return spoken
    if spoken[-1] == 1:  # no such tone: a mark of the rules before
        spoken[-1] = 2
    lists = word_lists()
    if word not in lists["rhotic"] and (word in lists["syllabic"] or token.tag in _SPOKEN_OUT_TAGS):
        return spoken
    merges = len(word) > 1 and spoken[-1] in (2, 5) and word[-2:] not in lists["syllabic"]
    if merges and spoken[-2]:
        spoken[-1] = spoken[-2]
    return spoken
