"""Numbers as Korean words: Sino-Korean, native before counters, digit by digit."""

from __future__ import annotations

_DIGITS = "영일이삼사오육칠팔구"
_PLACES = ("", "십", "백", "천")
_MYRIADS = ("", "만", "억", "조")
_NATIVE_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
MAX_DIGITS = 4 * len(_MYRIADS)


def digits(number: str, *, telephone: bool = False) -> str:
    """Return "2024" as 이영이사.

    Args:
        number: ASCII digits; a hyphen becomes a blank.
        telephone: Say 공 for 0.
    """
    spoken = "".join(_DIGITS[int(char)] if char.isdecimal() else " " for char in number)
    return spoken.replace("영", "공") if telephone else spoken


def _below_myriad(group: str) -> str:
    spoken = ""
    for place, digit in zip(range(len(group) - 1, -1, -1), group, strict=True):
        if digit != "0":
            one = "" if digit == "1" and place else _DIGITS[int(digit)]
            spoken += one + _PLACES[place]
    return spoken


def sino(number: str) -> str:
    """Return "15000" as 만오천; a number too long to say is read digit by digit."""
    number = number.lstrip("0") or "0"
    if number == "0":
        return _DIGITS[0]
    if len(number) > MAX_DIGITS:
        return digits(number)
    spoken = ""
    for power in range((len(number) - 1) // 4, -1, -1):
        end = len(number) - 4 * power
        group = number[max(0, end - 4) : end]
        if int(group):
            said = _below_myriad(group)
            spoken += ("" if said == "일" and power == 1 and not spoken else said) + _MYRIADS[power]
    return spoken


def native(number: str) -> str:
    """Return "21" as 스물한, the form before a counter; from 100 on Sino-Korean."""
    value = int(number)
    if not 0 < value < 100:
        return sino(number)
    if value == 20:
        return "스무"
    return _NATIVE_TENS[value // 10] + _NATIVE_ONES[value % 10]


def number(text: str) -> str:
    """Return "3.14" as 삼점일사 and "12" as 십이."""
    whole, _, fraction = text.partition(".")
    return f"{sino(whole)}점{digits(fraction)}" if fraction else sino(whole)
