"""Korean as it is read out: numbers, signs and units in hangul."""

from __future__ import annotations

import re

from engine.text.ko.numbers import digits as one_by_one
from engine.text.ko.numbers import native, number, sino
from engine.text.ko.units import CURRENCIES, NAMED_BY_NUMBER, NATIVE_COUNTERS, UNITS
from engine.text.mapped import MappedText, Rule, rule
from engine.text.spoken import DigitStyle

_N = r"\d+(?:\.\d+)?"
_MONTHS = {"6": "유", "06": "유", "10": "시"}
_DAYS = {"6·25": "유기오", "3·1": "사밀", "4·19": "사일구", "5·18": "오일팔", "8·15": "팔일오"}
_UNIT_NAMES = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))


def _month(text: str) -> str:
    return f"{_MONTHS.get(text) or sino(text)}월"


def _date(match: re.Match[str]) -> str | None:
    year, month, day = match["y"], match["m"], match["d"]
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{sino(year)}년 {_month(month)} {sino(day)}일"


def _hour(text: str) -> str:
    return native(text) if 1 <= int(text) <= 12 else sino(text)


def _clock(match: re.Match[str]) -> str:
    text = f"{_hour(match['h'])}시"
    if int(match["m"]):
        text += f" {sino(match['m'])}분"
    return text + (f" {sino(match['s'])}초" if match["s"] else "")


def _money(match: re.Match[str]) -> str:
    return f"{number(match['n'])}{match['m']}{CURRENCIES[match['sign']]}"


_CALENDAR: tuple[Rule, ...] = (
    rule(r"(?<!\d)\d{1,3}(?:,\d{3})+(?!\d)", lambda m: m[0].replace(",", "")),
    rule(
        r"(?<!\d)(?P<y>\d{4})(?P<sep>[/.-]) ?(?P<m>\d{1,2})(?P=sep) ?(?P<d>\d{1,2})(?![\d/-])",
        _date,
    ),
    rule(r"(?<![\d:])(?P<h>[01]?\d|2[0-4]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![\d:])", _clock),
    rule(r"(?<!\d)(0?[1-9]|1[0-2])(?=월)", lambda m: _month(m[0])[:-1]),
    rule(r"(?<![\d:.])(\d{1,3}):(\d{1,3})(?![\d:.])", lambda m: f"{sino(m[1])} 대 {sino(m[2])}"),
    # Days of history are said as one word: 유기오, 사밀절.
    rule(r"(?<!\d)\d{1,2}·\d{1,2}(?!\d)", lambda m: _DAYS.get(m[0]) or m[0].replace("·", " ")),
)
_IDENTITY: tuple[Rule, ...] = (
    rule(
        r"(?<![\d-])(?:0\d{1,2}-\d{3,4}-\d{4}|1\d{3}-\d{4}|0\d{9,10})(?![\d-])",
        lambda m: one_by_one(m[0], telephone=True),
    ),
    rule(r"(?<=[A-Za-z])\d{4,}", lambda m: one_by_one(m[0])),
    rule(r"(?<![\d.])\d+(?:\.\d+){2,}", lambda m: "점".join(map(sino, m[0].split(".")))),
    rule(r"(?<![\d-])\d+(?:-\d+){2,}(?![\d-])", lambda m: m[0].replace("-", " 다시 ")),
)
_SIGNS: tuple[Rule, ...] = (
    rule(rf"(?P<sign>[{''.join(CURRENCIES)}]) ?(?P<n>{_N})(?P<m>[만억조천]*)", _money),
    rule(rf"(?<=\d) ?[~〜～] ?(?=\d)|(?<=\d)[-–](?={_N}[가-힣%℃])", "에서 "),
    rule(r"(?<=[%가-힣])[~〜～](?=\d)", "에서 "),
    rule(r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])", lambda m: f"{sino(m[2])}분의 {sino(m[1])}"),
    rule(rf"(?P<n>{_N}) ?(?P<unit>{_UNIT_NAMES})(?![A-Za-z])", lambda m: m["n"] + UNITS[m["unit"]]),
    rule("[%％]", "퍼센트"),
    rule(rf"(?<![\dA-Za-z])[-−](?={_N} ?(?:℃|°C|도))", "영하 "),
    rule(r"℃|°C|(?<=\d)°", "도"),
    rule(rf"(?<![\dA-Za-z])[-−](?={_N})", "마이너스 "),
    rule(r"(?<=\d) ?[+＋] ?(?=\d)", " 더하기 "),
    rule(r"(?<![\dA-Za-z])[+＋](?=\d)", "플러스 "),
    rule(r"(?<=\d) ?[-−–] ?(?=\d)", " 빼기 "),
    rule(r"(?<=\d) ?[×*] ?(?=\d)", " 곱하기 "),
    rule(r"(?<=\d) ?÷ ?(?=\d)", " 나누기 "),
    rule(r"(?<=\w) ?= ?(?=\w)", "는 "),
    rule(r" ?[&＆] ?(?=[가-힣])", " 앤드 "),
)
_ONE_BY_ONE = rule(r"(?<![\d.])\d+(?![\d.])", lambda m: one_by_one(m[0]))
_LEADING_ZERO = rule(r"(?<![\d.])0\d+(?![\d.])", lambda m: one_by_one(m[0], telephone=True))
_AMOUNTS: tuple[Rule, ...] = (
    rule(r"(?<![\d.])1(?= ?번째)", "첫"),
    rule(rf"(?<![\d.])\d+(?=번 ?(?:{NAMED_BY_NUMBER}))", lambda m: sino(m[0])),
    rule(r"(?<![\d.])\d{1,2}(?= ?시(?!간))", lambda m: _hour(m[0])),
    rule(rf"(?<![\d.])\d{{1,2}}(?= ?(?:{NATIVE_COUNTERS}))", lambda m: native(m[0])),
    rule(_N, lambda m: number(m[0])),
)


def normalize(text: MappedText, digits: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` without digits and signs; foreign words stay.

    Args:
        text: A cleaned sentence.
        digits: AUTO reads telephone numbers and codes digit by digit, READ every number, CARDINAL
            none.
    """
    rules = (*_CALENDAR, *_IDENTITY, *_SIGNS, _LEADING_ZERO, *_AMOUNTS)
    if digits is DigitStyle.READ:
        rules = (*_CALENDAR, *_IDENTITY, *_SIGNS, _ONE_BY_ONE, *_AMOUNTS)
    elif digits is DigitStyle.CARDINAL:
        rules = (*_CALENDAR, *_SIGNS, *_AMOUNTS)
    return text.rewritten(rules)
