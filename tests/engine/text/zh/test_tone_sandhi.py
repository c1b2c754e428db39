"""Tone changes, word by word; whole sentences are compared with upstream in test_g2p."""

from __future__ import annotations

import pytest

from engine.text.zh.tone_sandhi import change_tones, merge_words
from engine.text.zh.words import Token, segmenter

_TONES = {"好": 3, "老": 3, "虎": 3, "纸": 3, "小": 3, "我": 3, "很": 3, "听": 1, "姐": 3}


def _tones_of(word: str) -> list[int]:
    return [_TONES.get(char, 0 if char in ",." else 4) for char in word]


@pytest.mark.parametrize(
    ("word", "tag", "tones", "spoken"),
    [
        ("看不懂", "v", [4, 4, 3], [4, 5, 3]),
        ("不怕", "v", [4, 4], [2, 4]),
        ("不好", "d", [4, 3], [4, 3]),
        ("一段", "m", [1, 4], [2, 4]),
        ("一天", "m", [1, 1], [4, 1]),
        ("一二零", "m", [1, 4, 2], [1, 4, 2]),
        ("第一", "m", [4, 1], [4, 1]),
        ("听一听", "v", [1, 1, 1], [1, 5, 1]),
        ("一,", "m", [1, 0], [1, 0]),
        ("一…", "m", [1, 0], [1, 0]),
        ("奶奶", "n", [3, 3], [3, 5]),
        ("石子", "n", [2, 3], [2, 3]),
        ("桌子", "n", [1, 3], [1, 5]),
        ("桌上", "s", [1, 4], [1, 5]),
        ("起来", "v", [3, 2], [3, 5]),
        ("三个", "m", [1, 4], [1, 5]),
        ("葡萄", "n", [2, 2], [2, 5]),
        ("吧", "y", [1], [5]),
        ("过", "ug", [4], [5]),
        ("过", "v", [4], [4]),
        ("你好", "l", [3, 3], [2, 3]),
        ("纸老虎", "n", [3, 3, 3], [3, 2, 3]),
        ("展览馆", "n", [3, 3, 3], [2, 2, 3]),
        ("所有人", "n", [3, 3, 2], [2, 3, 2]),
        ("岂有此理", "i", [3, 3, 3, 3], [2, 3, 2, 3]),
        ("吧,", "y", [1, 0], [1, 0]),
    ],
)
def test_words_change_their_tones(word: str, tag: str, tones: list[int], spoken: list[int]) -> None:
    """Each rule on the word it was made for."""
    assert change_tones(Token(word, tag), tones, segmenter()) == spoken


@pytest.mark.parametrize(
    ("words", "merged"),
    [
        (["不", "怕"], ["不怕"]),
        (["说", "不"], ["说", "不"]),
        (["一", "天"], ["一天"]),
        (["高", "高"], ["高高"]),
        (["花", "儿"], ["花儿"]),
        (["很", "好"], ["很好"]),
        (["我", "很", "好"], ["我很好"]),
        (["姐姐", "好"], ["姐姐", "好"]),
        (["小", "老虎"], ["小老虎"]),
    ],
)
def test_words_that_depend_on_each_other_are_joined(words: list[str], merged: list[str]) -> None:
    """不 and 一 go with what follows, 儿 and third tones with what is before."""
    tokens = [Token(word, "x") for word in words]
    assert [token.text for token in merge_words(tokens, _tones_of)] == merged


def test_verb_repeated_around_yi_is_one_word() -> None:
    """听 一 听 is one verb, so its 一 can be neutral."""
    tokens = [Token("听", "v"), Token("一", "m"), Token("听", "v")]
    assert merge_words(tokens, _tones_of) == [Token("听一听", "v")]
