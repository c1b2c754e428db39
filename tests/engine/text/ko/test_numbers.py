from __future__ import annotations

import pytest

from engine.text.ko.numbers import digits, native, number, sino


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("0", "영"), ("7", "칠"), ("10", "십"), ("11", "십일"), ("20", "이십"), ("105", "백오"),
        ("1000", "천"), ("10000", "만"), ("15000", "만오천"), ("210000", "이십일만"),
        ("110000", "십일만"), ("100000000", "일억"), ("120003004", "일억이천만삼천사"),
        ("00012", "십이"), ("1" * 17, "일" * 17),
    ],
)  # fmt: skip
def test_sino_korean(written: str, spoken: str) -> None:
    """일 is left out before a place and of 10000; what is too long is read by digits."""
    assert sino(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [("1", "한"), ("4", "네"), ("20", "스무"), ("21", "스물한"), ("99", "아흔아홉"),
     ("100", "백"), ("0", "영")],
)  # fmt: skip
def test_native_forms_before_a_counter(written: str, spoken: str) -> None:
    """Up to 99; Sino-Korean from there."""
    assert native(written) == spoken


def test_digits_and_decimals() -> None:
    """0 is 공 on the telephone."""
    assert digits("010-12", telephone=True) == "공일공 일이"
    assert digits("2024") == "이영이사"
    assert number("3.14") == "삼점일사"
