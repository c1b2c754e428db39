"""Written English to words and marks: an ordered list of rules over text with source offsets."""

from __future__ import annotations

import re
import unicodedata

from engine.text.en import abbreviations as short
from engine.text.en import calendar, codes, quantities
from engine.text.en.numbers import cardinal, decimal, digits, year
from engine.text.mapped import MappedText, Rule
from engine.text.spoken import DigitStyle

_QUOTES = {ord(c): "'" for c in "’‘ʼ`´′"} | {ord(c): "" for c in '“”"«»„'}
_MARKS = {
    **{ord(c): "," for c in "，、；;：—―"},
    **{ord(c): "." for c in "。…｡"},
    ord("！"): "!",
    ord("？"): "?",
    ord("–"): "-",
    ord("‐"): "-",
    ord("‑"): "-",
    ord("−"): "-",
    ord("⁄"): "/",
}

_ADDRESSES: tuple[Rule, ...] = (
    (codes.EMAIL, codes.read_email),
    (codes.HOST, codes.read_host),
)
_WRITTEN: tuple[Rule, ...] = (
    (re.compile(r"^\s*(\d{1,2})[.)]\s+(?=\D)"), lambda m: f"{cardinal(int(m.group(1)))}, "),
    (codes.PHONE, codes.read_phone),
    (codes.VERSION, codes.read_version),
    (short.LATIN, short.read_latin),
    (short.MONTH, short.read_month),
    (quantities.NUMBERED, "number "),
    (calendar.ISO_DATE, calendar.read_iso_date),
    (calendar.SLASH_DATE, calendar.read_slash_date),
    (calendar.MONTH_DAY, calendar.read_month_day),
    (calendar.DAY_MONTH, calendar.read_day_month),
    (calendar.TIME_RANGE, " to "),
    (calendar.TIME, calendar.read_time),
    (calendar.HOUR, calendar.read_hour),
    (calendar.DECADE, calendar.read_decade),
    (short.TITLE, short.read_title),
    (short.SAINT, short.read_saint),
    (short.STREET, short.read_street),
    (short.SHORT, short.read_short),
    (short.DOTTED, short.read_dotted),
    (short.WITH, short.read_with),
)
_AMOUNTS: tuple[Rule, ...] = (
    (quantities.ALWAYS, "twenty four seven"),
    (quantities.FEET, quantities.read_feet),
    (quantities.RANGE, quantities.read_range),
    (quantities.MONEY, quantities.read_money),
    (quantities.MONEY_AFTER, quantities.read_money_after),
    (quantities.MONEY_CODE, quantities.read_money_code),
    (quantities.PERCENT, quantities.read_percent),
    (quantities.UNIT, quantities.read_unit),
    (quantities.THOUSANDS, quantities.read_thousands),
    (quantities.FRACTION, quantities.read_fraction),
    (quantities.ORDINAL, quantities.read_ordinal),
    (quantities.GROUPED, quantities.read_grouped),
    (quantities.OPERATOR, quantities.read_operator),
    (quantities.NEGATIVE, "negative "),
)
_SIGNS: tuple[Rule, ...] = (
    (re.compile(r"&"), " and "),
    (re.compile(r"(?<=\s)@(?=\s)|(?<=\w)@(?=\w)"), " at "),
    (re.compile(r"%"), " percent "),
    (re.compile(r"(?<=\d):(?=\d)"), " to "),
    (re.compile(r":"), ","),
    (re.compile(r"(?<=\d)\+"), " plus "),
    (re.compile(r"\s[-]+\s|--+"), ", "),
)
_MARK_RUN = re.compile(r"\s*([.,!?])(?:\s*(?:[.,!?]|-(?![A-Za-z])))*")
_TRADE_SIGNS = re.compile("[™®©℠]")
_AND = re.compile(r"(?<=\w )'?[nN]'(?= \w)")
_QUOTE = re.compile(r"(?<![A-Za-z])'|'(?![A-Za-z])")
_LOOSE_HYPHEN = re.compile(r"(?<![A-Za-z])-|-(?![A-Za-z])")
_CLEANUP: tuple[Rule, ...] = (
    (_AND, "and"),
    (re.compile(r"[/_]"), " "),
    (re.compile(r"[^ A-Za-z'.,?!-]"), lambda m: " " if m.group().isspace() else ""),
    (_QUOTE, ""),
    (_LOOSE_HYPHEN, " "),
    (_MARK_RUN, lambda m: m.group(1)),
    (re.compile(r"\s+"), " "),
)
_INTEGER = re.compile(r"(?<!\d)\d+(?!\d)")
_DECIMAL = re.compile(r"(?<![\d.])(\d*\.\d+)(?![\d.]*\d)")


def _read_integer(match: re.Match[str]) -> str:
    text = match.group()
    # Upstream's reading of bare numbers from 1001 to 2999: by pairs, as years are.
    if len(text) == 4 and 1000 < int(text) < 3000:
        return f" {year(int(text))} "
    return f" {cardinal(int(text))} "


def _number_rules(style: DigitStyle) -> tuple[Rule, ...]:
    def one_by_one(match: re.Match[str]) -> str:
        return f" {digits(match.group())} "

    if style is DigitStyle.READ:
        return (
            (_DECIMAL, lambda m: " point ".join(map(digits, m.group().split(".")))),
            (_INTEGER, one_by_one),
        )
    if style is DigitStyle.CARDINAL:
        return (
            (_DECIMAL, lambda m: decimal(m.group())),
            (_INTEGER, lambda m: f" {cardinal(int(m.group()))} "),
        )
    return (
        (codes.LONG_NUMBER, lambda m: codes.read_digit_run(m.group())),
        (_DECIMAL, lambda m: decimal(m.group())),
        (_INTEGER, _read_integer),
    )


def _fold(text: MappedText) -> MappedText:
    """Strip accents (é -> e) and bring compatibility forms (①, ﬁ) to plain letters."""
    table = {}
    for char in set(text.text):
        if char.isascii():
            continue
        plain = unicodedata.normalize("NFKD", char)
        table[ord(char)] = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    return text.translated(table)


def normalize(text: MappedText, digit_style: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` as words (letters, apostrophes, inner hyphens), spaces and the marks .,?!

    Args:
        text: One sentence or a part of one, cleaned.
        digit_style: How numbers are read. AUTO reads amounts as numbers and phone, order and
            code numbers digit by digit.
    """
    text = text.sub(_TRADE_SIGNS, "").sub(quantities.POWER, quantities.read_power)
    text = _fold(text.translated(_QUOTES).translated(_MARKS))
    text = text.rewritten(_ADDRESSES)
    if digit_style is DigitStyle.AUTO:
        text = text.sub(codes.ID_NUMBER, codes.read_id)
    if digit_style is not DigitStyle.READ:
        text = text.rewritten((*_WRITTEN, *_AMOUNTS))
        text = text.sub(codes.ALNUM_CODE, codes.read_code)
        text = text.sub(codes.MODEL_NUMBER, codes.read_model_number)
    rules = (*_SIGNS, *_number_rules(digit_style), *_CLEANUP)
    return text.rewritten(rules).stripped()
