"""Japanese as it is read out: signs and units in kana, numbers in full-width digits.

Numbers keep their digits because OpenJTalk knows the counters: 3本 is サンボン, 1本 イッポン, 20日
ハツカ. Only what it would read wrongly is respelled here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.text.ja.units import CURRENCIES, UNITS
from engine.text.mapped import MappedText, Rule, rule
from engine.text.spoken import DigitStyle

_DIGITS = ("ゼロ", "イチ", "ニー", "サン", "ヨン", "ゴー", "ロク", "ナナ", "ハチ", "キュー")
_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc"
_N = r"\d+(?:\.\d+)?"
_FULL_WIDTH = {ord("0") + i: chr(0xFF10 + i) for i in range(10)}
_MYRIADS = "万億兆千"


def one_by_one(number: str) -> str:
    """Return "090-12" as ゼロキューゼロ、イチニー: groups keep a pause between them."""
    return "".join(_DIGITS[int(c)] if c.isdecimal() else "、" for c in number)


def _clock(match: re.Match[str]) -> str:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    text = f"{hours}時"
    if minutes or seconds:
        text += f"{minutes}分"
    return text + (f"{seconds}秒" if seconds else "")


def _date(match: re.Match[str]) -> str | None:
    year, month, day = (int(match[name]) for name in ("y", "m", "d"))
    return f"{year}年{month}月{day}日" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _score(match: re.Match[str]) -> str:
    return "対".join(match[0].split(":"))


def _fraction(match: re.Match[str]) -> str:
    return f"{match[2]}分の{match[1]}"


def _unit(match: re.Match[str]) -> str:
    return match["n"] + UNITS[match["unit"]]


_UNIT_NAMES = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))
_CLOCK = r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])"
_PHONE = r"(?<![\d-])(?:0\d{1,4}-\d{1,4}-\d{3,4}|0\d{9,10})(?![\d-])"
_NAMED = r"(?:番号|コード|ナンバー|電話|ID|No\.?)(?:は|が|:|：|\s)*"

_CALENDAR: tuple[Rule, ...] = (
    rule(r"(?<!\d)\d{1,3}(?:,\d{3})+(?!\d)", lambda m: m[0].replace(",", "")),
    rule(
        r"(?<!\d)(?P<y>\d{4})(?P<sep>[/.-])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})(?![\d/.-])", _date
    ),
    rule(_CLOCK, _clock),
    rule(r"(?<!\d)0(?=\d[月日時分秒])", ""),
    rule(r"(?<![\d:.])\d{1,3}(?::\d{1,3})+(?![\d:.])", _score),
)
_IDENTITY: tuple[Rule, ...] = (
    rule(_PHONE, lambda m: one_by_one(m[0])),
    rule(r"(?<=[A-Za-z])\d{4,}", lambda m: one_by_one(m[0])),
    rule(rf"(?P<name>{_NAMED})(?P<n>\d{{4,}})", lambda m: m["name"] + one_by_one(m["n"])),
    rule(r"(?<![\d.])\d+(?:\.\d+){2,}", lambda m: m[0].replace(".", "テン")),
    rule(r"(?<![\d-])\d+(?:-\d+){2,}(?![\d-])", lambda m: m[0].replace("-", "の")),
)
_SIGNS: tuple[Rule, ...] = (
    rule(
        rf"(?P<sign>[{''.join(CURRENCIES)}])\s*(?P<n>{_N})(?P<m>[{_MYRIADS}]*)",
        lambda m: f"{m['n']}{m['m']}{CURRENCIES[m['sign']]}",
    ),
    rule(rf"(?<=[\d%]) ?[~〜～] ?(?=[\d¥$])|(?<=\d)[-–](?={_N}[ぁ-んァ-ヶ一-鿿%℃])", "から"),
    rule(r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])", _fraction),
    rule(rf"(?P<n>{_N}) ?(?P<unit>{_UNIT_NAMES})(?![A-Za-z])", _unit),
    rule(r"[%％]", "パーセント"),
    rule(r"℃|°C|(?<=\d)°", "度"),
    rule(rf"(?<![\dA-Za-z])[-−](?={_N})", "マイナス"),
    rule(r"(?<=\d) ?[+＋] ?(?=\d)", "たす"),
    rule(r"(?<![\dA-Za-z])[+＋](?=\d)", "プラス"),
    rule(r"(?<=\d) ?[-−–] ?(?=\d)", "ひく"),
    rule(r"(?<=\d) ?[×*] ?(?=\d)", "かける"),
    rule(r"(?<=\d) ?÷ ?(?=\d)", "わる"),
    rule(r"(?<=[\d\w]) ?= ?(?=[\d\w])", "は"),
    rule(r" ?[&＆] ?(?=[^A-Za-z])", "アンド"),
    rule(rf"(?<=[{_KANA}])[~〜～]+", "ー"),
    rule(r"[~〜～]", "…"),
    rule(r"(?<=\d) (?=[一-鿿ぁ-んァ-ヶ])|(?<=[一-鿿ぁ-んァ-ヶ]) (?=\d)", ""),
)
_NUMBERS: Mapping[DigitStyle, tuple[Rule, ...]] = {
    DigitStyle.AUTO: (rule(r"(?<![\d.])0\d+(?![\d.])", lambda m: one_by_one(m[0])),),
    DigitStyle.READ: (rule(r"(?<![\d.])\d+(?![\d.])", lambda m: one_by_one(m[0])),),
    DigitStyle.CARDINAL: (rule(r"(?<![\d.])0+(?=\d)(?!\d*\.)", ""),),
}
_POINT = rule(r"(?<=\d)\.(?=\d)", "．")


def normalize(text: MappedText, digits: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` ready for OpenJTalk; doing it twice changes nothing.

    Args:
        text: A cleaned sentence, foreign words included: they stay.
        digits: AUTO reads telephone numbers and codes digit by digit, READ every number, CARDINAL
            none.
    """
    identity = () if digits is DigitStyle.CARDINAL else _IDENTITY
    rules = (*_CALENDAR, *identity, *_SIGNS, *_NUMBERS[digits], _POINT)
    return text.rewritten(rules).translated(_FULL_WIDTH)
