"""Dates, times of day and what looks like them: scores and ratios."""

from __future__ import annotations

import re

from engine.text.zh.numbers import cardinal, digits
from engine.text.zh.rules import Rule, rule

_YEAR_PAST = 1000  # a four-digit 年 between these is a year, else a span of years
_YEAR_FUTURE = 2999
_SCORE = re.compile(r"(?:比分|比率|比例|比值|大比分|总分|局分)[^，。,!?]{0,6}$")


def _is_year(number: str) -> bool:
    return len(number) == 4 and _YEAR_PAST <= int(number) <= _YEAR_FUTURE


def _iso_date(match: re.Match[str]) -> str | None:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{digits(match['year'])}年{cardinal(match['month'])}月{cardinal(match['day'])}日"


def _years(match: re.Match[str]) -> str | None:
    if not (_is_year(match[1]) and _is_year(match[2])):
        return None
    return f"{digits(match[1])}到{digits(match[2])}"


def _year(match: re.Match[str]) -> str | None:
    return digits(match[0]) if _is_year(match[0]) else None


def _short_year(match: re.Match[str]) -> str | None:
    """Two digits before 年: 86年 and 08年 are years, 10年 is how long it took."""
    number = match["year"]
    dated = match["before"] or match["after"] or number[0] in "06789"
    return (match["before"] or "") + digits(number) if dated else None


def _minutes(minutes: str, seconds: str | None) -> str:
    if minutes == "30" and not seconds:
        return "半"
    spoken = ""
    if int(minutes) or seconds:
        spoken = f"{'零' if minutes[0] == '0' and int(minutes) else ''}{cardinal(minutes)}分"
    if seconds and int(seconds):
        spoken += f"{'零' if seconds[0] == '0' else ''}{cardinal(seconds)}秒"
    return spoken


def _clock(hour: str, minutes: str, seconds: str | None) -> str:
    spoken = "两" if int(hour) == 2 else cardinal(hour)
    return f"{spoken}点{_minutes(minutes, seconds)}"


def _time(match: re.Match[str]) -> str | None:
    if _SCORE.search(match.string[: match.start()]):
        return None
    return _clock(match[1], match[2], match[3])


def _times(match: re.Match[str]) -> str:
    return f"{_clock(match[1], match[2], match[3])}至{_clock(match[4], match[5], match[6])}"


_TIME = r"([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?"

CALENDAR_RULES: tuple[Rule, ...] = (
    rule(
        r"(?<!\d)(?P<year>[12]\d{3})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
        r"(?![\d./-])日?",
        _iso_date,
    ),
    rule(r"(?<!\d)(\d{4})年?\s*[-~～–—至到]\s*(\d{4})(?=年|赛季|学年|财年)", _years),
    rule(r"(?<![A-Za-z\d])((?:19|20)\d0)s(?![A-Za-z])", lambda m: digits(m[1]) + "年代"),
    rule(r"(?<!\d)([5-9]0)(?=年代)", lambda m: cardinal(m[1])),
    rule(r"(?<!\d)\d{4}(?=年)", _year),
    rule(
        r"(?<!\d)((?:19|20)\d{2})(?=款|届|版|赛季|财年|奥运|世界杯|欧洲杯|春节|国庆|春晚|高考|双十一)",
        lambda m: digits(m[1]),
    ),
    rule(
        r"(?P<before>[在自从于])?(?<!\d)(?P<year>\d{2})(?=年)"
        r"(?=年(?P<after>\d{1,2}月|底|初|末|[上下]半年|春|夏|秋|冬|款|生)?)(?!年[里内间中来后前])",
        _short_year,
    ),
    rule(r"(?<!\d)([05-9]0)(?=后(?!来|面|天|期))", lambda m: digits(m[1])),
    rule(r"(\d[日号月年点分])\s*[-~～–—]\s*(?=\d)", lambda m: f"{m[1]}到"),
    rule(rf"(?<![\d:：.]){_TIME}\s*[-~～–—至到]\s*{_TIME}(?![\d:：])", _times),
    rule(rf"(?<![\d:：.]){_TIME}(?![\d:：])", _time),
    rule(
        r"(?<![\d:：.])(\d+(?:\.\d+)?)\s*[:：]\s*(?=\d)(?![\d:：]*-)",
        lambda m: f"{m[1]}比",
    ),
    rule(r"(?<![\d.第])2(?=点(?:\d{1,2}分|(?!\d|[零一二三四五六七八九])))", lambda m: "两"),
)
