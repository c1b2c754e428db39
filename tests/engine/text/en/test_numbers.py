from __future__ import annotations

import pytest

from engine.text.en import numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (110, "one hundred ten"),
        (1001, "one thousand one"),
        (1234567, "one million two hundred thirty-four thousand five hundred sixty-seven"),
        (10**9, "one billion"),
        (-5, "minus five"),
        (10**21, "one " + " ".join(["zero"] * 21)),
    ],
)
def test_cardinals(number: int, words: str) -> None:
    """Numbers beyond the named scales are read by their digits."""
    assert numbers.cardinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "first"),
        (2, "second"),
        (5, "fifth"),
        (12, "twelfth"),
        (20, "twentieth"),
        (22, "twenty-second"),
        (100, "one hundredth"),
        (101, "one hundred first"),
    ],
)
def test_ordinals(number: int, words: str) -> None:
    """Only the last word changes."""
    assert numbers.ordinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1066, "ten sixty-six"),
        (1900, "nineteen hundred"),
        (1905, "nineteen oh five"),
        (2000, "two thousand"),
        (2009, "two thousand nine"),
        (2010, "twenty ten"),
        (2024, "twenty twenty-four"),
        (800, "eight hundred"),
    ],
)
def test_years(number: int, words: str) -> None:
    """Years go by pairs but for round ones and the first of this century."""
    assert numbers.year(number) == words


def test_digits_decimals_and_fractions() -> None:
    """The fraction of a decimal is read digit by digit."""
    assert numbers.digits("10-24") == "one zero two four"
    assert numbers.decimal("3.14") == "three point one four"
    assert numbers.decimal(".5") == "zero point five"
    assert numbers.decimal("7") == "seven"
    assert numbers.fraction(1, 2) == "one half"
    assert numbers.fraction(3, 2) == "three halves"
    assert numbers.fraction(3, 4) == "three fourths"
    assert numbers.fraction(6, 1) == "six"
