"""Rhotic endings."""

from __future__ import annotations

import pytest

from engine.text.zh.erhua import merge_erhua
from engine.text.zh.words import Token


@pytest.mark.parametrize(
    ("word", "tag", "tones", "spoken"),
    [
        ("玩儿", "v", [2, 2], [2, 2]),
        ("味儿", "n", [4, 2], [4, 4]),
        ("事儿", "n", [4, 5], [4, 4]),
        ("女儿", "n", [3, 2], [3, 2]),
        ("小女儿", "n", [3, 3, 2], [3, 3, 2]),
        ("宝儿", "nr", [3, 2], [3, 2]),
        ("媳妇儿", "a", [2, 5, 2], [2, 5, 5]),
        ("儿", "n", [1], [2]),
        ("好", "a", [3], [3]),
    ],
)
def test_final_er(word: str, tag: str, tones: list[int], spoken: list[int]) -> None:
    """儿 takes the tone before it unless the word says it out."""
    assert merge_erhua(Token(word, tag), tones) == spoken
