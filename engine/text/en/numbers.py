"""Numbers as English words: cardinals, ordinals, years, digit by digit.

Tens and ones are hyphenated ("ninety-nine"): the dictionary lists them so, with the stress of the
compound. There are no commas; a number is said in one breath.
"""

from __future__ import annotations

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "_ ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
NUMBER_WORDS = frozenset([*_ONES, *_TENS])
MAX_CARDINAL_DIGITS = 3 * len(_SCALES)


def _below_hundred(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    tens, ones = divmod(number, 10)
    return [f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]]


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    return words + (_below_hundred(rest) if rest or not words else [])


def cardinal(number: int) -> str:
    """Return 1234 as "one thousand two hundred thirty-four"; too long a number by its digits."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if len(str(number)) > MAX_CARDINAL_DIGITS:
        return digits(str(number))
    if number < 1000:
        return " ".join(_below_thousand(number))
    words: list[str] = []
    for scale in range(len(_SCALES) - 1, -1, -1):
        group = number // 1000**scale % 1000
        if group:
            words += _below_thousand(group) + ([_SCALES[scale]] if scale else [])
    return " ".join(words)


def ordinal(number: int) -> str:
    """Return 22 as "twenty-second"."""
    *head, last = re.split(r"(?<=[ -])", cardinal(number))
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return "".join([*head, last])


def year(number: int) -> str:
    """Return 1999 as "nineteen ninety-nine", 2005 as "two thousand five", 1900 in hundreds."""
    high, low = divmod(number, 100)
    if number % 1000 == 0 or 2000 < number < 2010 or not 10 <= high <= 99:
        return cardinal(number)
    if low == 0:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {f'oh {_ONES[low]}' if low < 10 else cardinal(low)}"


def digits(text: str) -> str:
    """Return "1024" as "one zero two four"; characters that are no ASCII digit are left out."""
    return " ".join(_ONES[int(char)] for char in text if char in "0123456789")


def decimal(text: str) -> str:
    """Return "3.14" as "three point one four"; ".5" as "zero point five"."""
    whole, _, fraction = text.partition(".")
    words = cardinal(int(whole or "0"))
    return f"{words} point {digits(fraction)}" if fraction else words


def fraction(numerator: int, denominator: int) -> str:
    """Return 3, 4 as "three fourths"; a denominator of 2 says half."""
    if denominator == 1:
        return cardinal(numerator)
    if denominator == 2:
        return f"{cardinal(numerator)} {'half' if numerator == 1 else 'halves'}"
    return f"{cardinal(numerator)} {ordinal(denominator)}{'' if numerator == 1 else 's'}"
