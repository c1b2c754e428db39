"""Numbers as Chinese words: cardinals, decimals, digit by digit."""

from __future__ import annotations

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_MYRIADS = ("", "万", "亿", "万亿")
MAX_CARDINAL_DIGITS = 4 * len(_MYRIADS)
_PAIR_BEFORE = frozenset("千万亿")  # 两 instead of 二 at the head of a number


def digits(number: str, *, telephone: bool = False) -> str:
    """Return "2024" as 二零二四.

    Args:
        number: ASCII digits; anything else is kept.
        telephone: Say 幺 for 1, as is done where a misheard digit costs something.
    """
    spoken = "".join(_DIGITS[ord(c) - 48] if "0" <= c <= "9" else c for c in number)
    return spoken.replace("一", "幺") if telephone else spoken


def _below_myriad(group: str) -> str:
    spoken, gap = "", False
    for place, digit in zip(range(len(group) - 1, -1, -1), group, strict=True):
        if digit == "0":
            gap = True
            continue
        if gap and spoken:
            spoken += _DIGITS[0]
        gap = False
        spoken += _DIGITS[int(digit)] + _PLACES[place]
    return spoken


def cardinal(number: str) -> str:
    """Return "10305" as 一万零三百零五; a number too long to say is read digit by digit.

    Leading zeros are ignored; 2000 is 两千, 200 is 二百, 15 is 十五.
    """
    number = number.lstrip("0") or "0"
    if number == "0":
        return _DIGITS[0]
    if len(number) > MAX_CARDINAL_DIGITS:
        return digits(number)
    spoken, gap = "", False
    for power in range((len(number) - 1) // 4, -1, -1):
        end = len(number) - 4 * power
        group = number[max(0, end - 4) : end]
        value = int(group)
        if value == 0:
            gap = True
            continue
        if spoken and (gap or value < 1000):
            spoken += _DIGITS[0]
        gap = False
        spoken += _below_myriad(group.lstrip("0")) + _MYRIADS[power]
    if spoken.startswith("一十"):
        return spoken[1:]
    if len(spoken) > 1 and spoken[0] == "二" and spoken[1] in _PAIR_BEFORE:
        return f"两{spoken[1:]}"
    return spoken


def number(text: str) -> str:
    """Return "-12.50" as 负十二点五零 and "3" as 三.

    Zeros that end a decimal fraction are said once, as upstream does: 3.00 is 三点零.
    """
    if text.startswith("-"):
        return f"负{number(text[1:])}"
    whole, _, fraction = text.partition(".")
    spoken = cardinal(whole)
    if not fraction:
        return spoken
    kept = fraction.rstrip("0")
    if kept != fraction:
        kept += "0"
    return f"{spoken}点{digits(kept)}"
