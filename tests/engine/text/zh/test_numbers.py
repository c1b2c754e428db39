"""Numbers as Chinese words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.zh.numbers import cardinal, digits, number

_VALUES = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}
_SMALL = {"十": 10, "百": 100, "千": 1000}


def _value_of(words: str) -> int:
    """Read Chinese numerals back, myriad by myriad."""
    if "亿" in words:
        high, _, low = words.rpartition("亿")
        return _value_of(high) * 10**8 + _value_of(low)
    if "万" in words:
        high, _, low = words.rpartition("万")
        return _value_of(high) * 10**4 + _value_of(low)
    total, current = 0, 0
    for i, char in enumerate(words):
        if char in _SMALL:
            total += (current if i and words[i - 1] not in "零" or current else 1) * _SMALL[char]
            current = 0
        else:
            current = _VALUES[char]
    return total + current


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "零"),
        ("10", "十"),
        ("15", "十五"),
        ("110", "一百一十"),
        ("200", "二百"),
        ("1010", "一千零一十"),
        ("2000", "两千"),
        ("10010", "一万零一十"),
        ("20000", "两万"),
        ("22000", "两万二千"),
        ("100000", "十万"),
        ("100010000", "一亿零一万"),
        ("007", "七"),
        ("12345678901234567", "一二三四五六七八九零一二三四五六七"),
    ],
)
def test_cardinals(value: str, words: str) -> None:
    """Zeros between digits are said once, 2 at the head is 两 before 千 and more."""
    assert cardinal(value) == words


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_cardinals_read_back_as_the_same_number(value: int) -> None:
    """No digit is lost and none is invented."""
    assert _value_of(cardinal(str(value))) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [("0.5", "零点五"), ("3.00", "三点零"), ("-12.50", "负十二点五零"), ("2000.25", "两千点二五")],
)
def test_decimals(text: str, words: str) -> None:
    """A fraction is read digit by digit, its last zeros once."""
    assert number(text) == words


def test_digits() -> None:
    """One is 幺 on the telephone only."""
    assert digits("2011") == "二零一一"
    assert digits("1-10", telephone=True) == "幺-幺零"
