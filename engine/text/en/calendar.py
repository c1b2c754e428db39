"""Dates, times of day and decades as English words."""

from __future__ import annotations

import re

from engine.text.en.numbers import cardinal, ordinal, year

_MONTHS = (
    "January February March April May June July August September October November December"
).split()
_MONTH = "|".join(_MONTHS)
_DAY_ENDING = "(?:st|nd|rd|th)?"

ISO_DATE = re.compile(r"(?<![\d-])(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?![\d-])")
SLASH_DATE = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\d/])")
MONTH_DAY = re.compile(
    rf"\b({_MONTH})\s+(\d{{1,2}}){_DAY_ENDING}\b(?![:.]\d|\s?%)(?:,?\s+(\d{{4}})\b)?"
)
DAY_MONTH = re.compile(
    rf"(?<![\w$.])(?:(the)\s+)?(\d{{1,2}}){_DAY_ENDING}\s+(?:of\s+)?({_MONTH})\b(?:,?\s+(\d{{4}})\b)?"
)
TIME = re.compile(
    r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:\s?([AaPp])\.?[Mm]\b\.?)?"
)
TIME_RANGE = re.compile(r"(?<=:[0-5]\d)\s?[-~]\s?(?=\d{1,2}:[0-5]\d)")
HOUR = re.compile(r"(?<![\d:.])(1[0-2]|0?[1-9])\s?([AaPp])\.?[Mm]\b(?:\.(?=\s+[a-z]|\S))?")
DECADE = re.compile(r"(?<!\w)(?:'(\d0)|(\d{3}0))'?s\b")


def _day_words(month: int, day: int, years: str | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    tail = f", {year(int(years))}" if years else ""
    return f"{_MONTHS[month - 1]} {ordinal(day)}{tail}"


def read_iso_date(match: re.Match[str]) -> str | None:
    """Read 2024-05-03 as "May third, twenty twenty four"."""
    return _day_words(int(match.group(2)), int(match.group(3)), match.group(1))


def read_slash_date(match: re.Match[str]) -> str | None:
    """Read 5/3/2024 month first, as Americans do, unless only day first is possible."""
    first, second, years = int(match.group(1)), int(match.group(2)), match.group(3)
    years = years if len(years) == 4 else f"20{years}"
    return _day_words(first, second, years) or _day_words(second, first, years)


def read_month_day(match: re.Match[str]) -> str | None:
    """Read "May 3, 2024" with an ordinal day."""
    if not 1 <= int(match.group(2)) <= 31:
        return None
    tail = f", {year(int(match.group(3)))}" if match.group(3) else ""
    return f"{match.group(1)} {ordinal(int(match.group(2)))}{tail}"


def read_day_month(match: re.Match[str]) -> str | None:
    """Read "3 May 2024" as "the third of May ..."."""
    if not 1 <= int(match.group(2)) <= 31:
        return None
    tail = f", {year(int(match.group(4)))}" if match.group(4) else ""
    return f"the {ordinal(int(match.group(2)))} of {match.group(3)}{tail}"


def read_time(match: re.Match[str]) -> str:
    """Read 3:05 as "three oh five", 15:30 as "three thirty P M", 9:00 as "nine o'clock"."""
    hour, minute, seconds, half = int(match.group(1)), int(match.group(2)), *match.group(3, 4)
    marker = f" {half.upper()} M" if half else ""
    if not half and (hour > 12 or match.group(1) == "00"):
        marker = " P M" if 12 < hour < 24 else " A M"
    hour = (hour - 1) % 12 + 1
    words = cardinal(hour)
    if minute:
        words += f" oh {cardinal(minute)}" if minute < 10 else f" {cardinal(minute)}"
    elif not marker and not seconds:
        words += " o'clock"
    if seconds:
        words += f" and {cardinal(int(seconds))} seconds"
    return words + marker


def read_hour(match: re.Match[str]) -> str:
    """Read "5pm" as "five P M"."""
    return f"{cardinal(int(match.group(1)))} {match.group(2).upper()} M"


def read_decade(match: re.Match[str]) -> str:
    """Read 1990s as "nineteen nineties", '90s as "nineties"."""
    words = cardinal(int(match.group(1))) if match.group(1) else year(int(match.group(2)))
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"
