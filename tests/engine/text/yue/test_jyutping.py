from __future__ import annotations

import pytest

from engine.text.symbols import symbol_table
from engine.text.yue.jyutping import symbols


@pytest.mark.parametrize(
    ("syllable", "expected"),
    [
        ("gwong2", ("Ygw", "Yong2")),
        ("nei5", ("Yn", "Yei5")),
        ("ngo5", ("Yng", "Yo5")),
        ("aan1", ("Yaa", "Yn1")),
        ("aa3", ("Yaa", "Ya3")),
        ("m4", ("Ym", "Ym4")),
        ("ng5", ("Yng", "Yg5")),
        ("uk1", ("Yuk", "Yk1")),
        ("jyut6", ("Yj", "Yyut6")),
        ("oi3", ("Yoi", "Yi3")),
    ],
)
def test_a_syllable_is_cut_where_the_checkpoints_cut_it(
    syllable: str, expected: tuple[str, str]
) -> None:
    """Vowels are initials too, and a syllable that is one repeats its last letter."""
    assert symbols(syllable) == expected
    assert set(expected) <= set(symbol_table("v2").names)


@pytest.mark.parametrize("text", ["", "gwong", "gwong7", "Gwong2", "ni hao", "吓"])
def test_what_is_no_syllable_has_no_symbols(text: str) -> None:
    """Without a tone from 1 to 6 there is no final of the inventory."""
    assert symbols(text) is None
