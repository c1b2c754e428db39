"""Amounts: money, percentages, temperatures, units, ranges, fractions, sums, plain numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.text.zh.numbers import cardinal, digits, number
from engine.text.zh.rules import HAN, MEASURES, NUMBER, Rule, rule
from engine.text.zh.units import spoken_unit

_CURRENCIES: Mapping[str, str] = {
    "¥": "元", "￥": "元", "RMB": "元", "CNY": "元", "US$": "美元", "$": "美元", "USD": "美元",
    "HK$": "港元", "HKD": "港元", "€": "欧元", "EUR": "欧元", "£": "英镑", "GBP": "英镑",
    "₩": "韩元", "JPY": "日元", "฿": "泰铢", "₽": "卢布",
}  # fmt: skip
_CURRENCY = "|".join(re.escape(sign) for sign in sorted(_CURRENCIES, key=len, reverse=True))
_TO = r"\s*[-~～–—至到]\s*"
_ALONE = r"(?<![\d.A-Za-z])"  # not inside another number or word
_DEGREE = "(?:°C|℃|°|摄氏度|度(?!数|过|假))"
_SIGNS: Mapping[str, str] = {
    "+": "加", "-": "减", "×": "乘", "*": "乘", "x": "乘", "÷": "除以", "/": "除以", "=": "等于",
}  # fmt: skip
_FAHRENHEIT = "(?:°F|℉)"


def _trimmed(amount: str) -> str:
    """Return 3000.50 as 3000.5: money is not said with the zeros it is written with."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _money(match: re.Match[str]) -> str:
    amount = number(_trimmed(match["amount"])) + (match["scale"] or "")
    named = match["named"] or ""  # "$5美元": the sign says nothing new
    return amount + (named or _CURRENCIES[match["sign"]])


def _money_range(match: re.Match[str]) -> str:
    return f"{number(match[2])}到{number(match[3])}{_CURRENCIES[match[1]]}"


def _percent(match: re.Match[str]) -> str:
    whole = "千分之" if match["mark"] == "‰" else "百分之"
    sign = "负" if match["sign"] else ""
    return f"{sign}{whole}{number(match['number'])}"


def _percent_range(match: re.Match[str]) -> str:
    return f"百分之{number(match[1])}到百分之{number(match[2])}"


def _temperature(match: re.Match[str]) -> str:
    below = "零下" if match["sign"] else ""
    if match["scale"] in ("°F", "℉"):
        return f"{below}华氏{number(match['number'])}度"
    word = "摄氏度" if match["scale"] == "摄氏度" else "度"
    return f"{below}{number(match['number'])}{word}"


def _temperature_range(match: re.Match[str]) -> str:
    low = ("零下" if match[1] else "") + number(match[2])
    high = ("零下" if match[3] else "") + number(match[4])
    return f"{low}到{high}度"


def _counted(text: str) -> str:
    return "两" if text == "2" else number(text)


def _with_unit(match: re.Match[str]) -> str | None:
    unit = spoken_unit(match["unit"])
    if unit is None or (match["gap"] and len(match["unit"]) == 1):
        return None
    sign = "负" if match["sign"] else ""
    return f"{sign}{_counted(match['number'])}{unit}"


def _range(match: re.Match[str]) -> str:
    low, high, counts = match["low"], match["high"], match["counts"]
    falls = float(low) > float(high)
    if falls and not counts and "-" in match["to"]:  # 3-1获胜
        return f"{number(low)}比{number(high)}"
    is_ordinal = match.string[: match.start()].endswith("第")
    say = _counted if counts and not is_ordinal else number
    return f"{say(low)}{match['word'] or ''}到{say(high)}"


def _fraction(match: re.Match[str]) -> str | None:
    if not int(match["below"]):
        return None
    sign = "负" if match["sign"] else ""
    return f"{sign}{cardinal(match['below'])}分之{cardinal(match['above'])}"


def _sum(match: re.Match[str]) -> str:
    parts = re.split(r"\s*([-+×*x÷/=])\s*", match[0])
    return "".join(_SIGNS[p] if p in _SIGNS else number(p) for p in parts if p)


MONEY_RULES: tuple[Rule, ...] = (
    rule(
        rf"({_CURRENCY})\s*({NUMBER}){_TO}(?:{_CURRENCY})?\s*({NUMBER})(?![\d万亿千])", _money_range
    ),
    rule(
        rf"(?P<sign>{_CURRENCY})\s*(?P<amount>{NUMBER})(?P<scale>[万亿千百]+)?"
        r"(?P<named>(?:美|欧|日|港|韩|澳|加)?元|块钱?|英镑|人民币|美金|港币)?",
        _money,
    ),
)

QUANTITY_RULES: tuple[Rule, ...] = (
    rule(rf"{_ALONE}({NUMBER})[%％]?{_TO}({NUMBER})[%％]", _percent_range),
    rule(rf"(?P<sign>(?<![\d%])-)?(?P<number>{NUMBER})(?P<mark>[%％‰])", _percent),
    rule(
        rf"(?:(?<![\d{HAN}])|(?<=[{HAN}]))([-−])?({NUMBER})(?:{_DEGREE})?(?:[~～–—至到]|-(?=[\d-]))"
        rf"([-−])?({NUMBER})(?:°C|℃|摄氏度|度(?!数))",
        _temperature_range,
    ),
    rule(
        rf"(?P<sign>(?<![\d])[-−])?(?P<number>{NUMBER})\s?(?P<scale>{_FAHRENHEIT}|{_DEGREE})",
        _temperature,
    ),
    rule(
        rf"{_ALONE}{NUMBER}(?:\s*[+×*÷]\s*{NUMBER})+(?:\s*=\s*{NUMBER})?(?![\dA-Za-z])"
        rf"|{_ALONE}{NUMBER}(?:\s*[-+×*x÷/]\s*{NUMBER})+\s*=\s*{NUMBER}(?![\dA-Za-z])",
        _sum,
    ),
    rule(r"(?<=\d)\s*[×*x]\s*(?=\d)", lambda m: "乘"),
    rule(
        rf"(?<![\d.~～/-])(?P<low>{NUMBER})(?P<word>(?:[万亿千百]?[元块]|[%万亿天年月日号岁人个次米秒])?)(?P<to>{_TO})"
        rf"(?P<high>{NUMBER})(?![\d~～/.-]*[-~～/]\d)(?=(?P<counts>[多余几]?(?:{MEASURES}|[A-Za-zμ]))?)",
        lambda m: _range(m) if not m["word"] or "-" in m["to"] or "~" in m["to"] else None,
    ),
    rule(
        rf"(?P<sign>(?<![\dA-Za-z])-)?{_ALONE}(?P<number>{NUMBER})(?P<gap>\s?)"
        r"(?P<unit>[A-Za-zμµΩ]+[23²³]?(?:/[A-Za-zμµ]+[23²³]?)?)(?![A-Za-z\d])",
        _with_unit,
    ),
    rule(r"(?P<sign>(?<![\d])-)?(?<![\d./])(?P<above>\d+)/(?P<below>\d+)(?![\d/.])", _fraction),
)

PLAIN_RULES: tuple[Rule, ...] = (
    rule(
        rf"(?<!\d)(\d)米(\d{{1,2}})(?!\d|\.|厘米|[{HAN}]*米)",  # a height: 1米75
        lambda m: f"{_counted(m[1])}米{digits(m[2])}",
    ),
    rule(rf"(?<=[\d个次元块名人])\+(?=[{HAN}])", lambda m: "多"),
    rule(rf"(?<![\d第.周初期年月])2(?=[多余几]?(?:{MEASURES}))", lambda m: "两"),
    rule(rf"(?<![\dA-Za-z{HAN}])[-−](?={NUMBER})", lambda m: "负"),
    rule(rf"(?<=[为是达到约至于跌降])[-−](?={NUMBER})", lambda m: "负"),
    rule(r"\d+\.\d+", lambda m: number(m[0])),
    rule(r"\.(\d+)", lambda m: f"零点{digits(m[1])}"),
    rule(r"\d+", lambda m: cardinal(m[0])),
)
