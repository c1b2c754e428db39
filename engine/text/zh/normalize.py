"""Chinese text as it is spoken: numbers and signs in words, marks in the packs' inventory."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping

from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle
from engine.text.symbols import PUNCTUATION
from engine.text.zh.numbers import cardinal, number
from engine.text.zh.numbers import digits as read_digits
from engine.text.zh.pinyin import parse_syllable
from engine.text.zh.polyphones import dictionary_pinyin
from engine.text.zh.rules import HAN, Rule, apply, rule
from engine.text.zh.rules_calendar import CALENDAR_RULES
from engine.text.zh.rules_identity import IDENTITY_RULES, MIXED_RULES, WEB_RULES
from engine.text.zh.rules_quantity import MONEY_RULES, PLAIN_RULES, QUANTITY_RULES
from engine.text.zh.simplify import simplified

logger = logging.getLogger(__name__)


_LETTERS = "A-Za-zÀ-ÖØ-öø-ɏ"
_MARKS = "".join(re.escape(mark) for mark in PUNCTUATION)
_IS_HAN = re.compile(f"[{HAN}]")

# One character, one meaning, wherever it stands. Full-width commas, colons and full stops keep
# their width until the digit rules have run: "102，1002" is two numbers.
_CHARACTERS: Mapping[int, str] = {
    **{code: chr(code - 0xFEE0) for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B))},
    **{code: chr(code - 0xFEE0) for code in range(0xFF41, 0xFF5B)},
    **dict(zip(map(ord, "％＋－＝／＃＄＆＊＠．￥　"), "%+-=/#$&*@.¥ ", strict=True)),
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in range(0x3371, 0x33DE)},  # ㎏ ㎡
    **{0x2460 + i: cardinal(str(i + 1)) for i in range(20)},  # ① to ⑳
    **{0x2160 + i: cardinal(str(i + 1)) for i in range(12)},  # Ⅰ to Ⅻ
    **{ord(fraction): text for fraction, text in {"½": "1/2", "¼": "1/4", "¾": "3/4"}.items()},
    0x2212: "-",
    0x00A0: " ",
    ord("呣"): "母",  # as upstream: what has no syllable of its own
    ord("嗯"): "恩",
}  # fmt: skip
_GREEK: Mapping[str, str] = {
    "α": "阿尔法", "β": "贝塔", "γ": "伽玛", "δ": "德尔塔", "Δ": "德尔塔", "ε": "艾普西龙",
    "θ": "西塔", "λ": "拉姆达", "μ": "缪", "π": "派", "σ": "西格玛", "Σ": "西格玛", "φ": "服艾",
    "ω": "欧米伽", "Ω": "欧米伽",
}  # fmt: skip
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?(?P<unit>\s?[A-Za-z%‰°℃])?")

# What is left of signs once numbers are words.
_SIGN_RULES: tuple[Rule, ...] = (
    rule(f"[{''.join(_GREEK)}]", lambda m: _GREEK[m[0]]),
    rule(r"(?<=[元块角钱个次米克斤吨升度字页人件瓶箱盒])/(?=[" + HAN + "])", lambda m: "每"),
    rule(r"(?<=周[一二三四五六日天])\s*[-~～–—]\s*(?=周)", lambda m: "到"),
    rule(rf"(?<=[{HAN}])\s*[+＋]\s*(?=[{HAN}])", lambda m: "加"),
    rule(rf"(?<=[{HAN}{_LETTERS}])\s*=\s*(?=[{HAN}{_LETTERS}])", lambda m: "等于"),
    rule(rf"(?<=[{HAN}{_LETTERS}])²", lambda m: "的平方"),
    rule(rf"(?<=[{HAN}{_LETTERS}])³", lambda m: "的立方"),
    rule(rf"(?<=[{HAN}])\s*×\s*(?=[{HAN}])", lambda m: "乘"),
    rule(rf"(?<=[{HAN}{_LETTERS}])\s*&\s*(?=[{HAN}{_LETTERS}])", lambda m: "和"),
    rule("[%％]", lambda m: "百分号"),
    rule("℃", lambda m: "摄氏度"),
)
_PAUSES: Mapping[int, str] = {
    **dict.fromkeys(map(ord, "，、；：;:·・،"), ","),
    **dict.fromkeys(map(ord, "。｡\n\r"), "."),
    **dict.fromkeys(map(ord, "！‼"), "!"),
    **dict.fromkeys(map(ord, "？⁇⁈⁉"), "?"),
    **dict.fromkeys(map(ord, "~～⋯"), "…"),
    **dict.fromkeys(map(ord, "’ʼ"), "'"),
    ord("/"): ",",
}
_FINAL_RULES: tuple[Rule, ...] = (
    rule(r"\.{2,}", lambda m: "…"),
    rule(rf"(?<=[{HAN}])\s*[-–—]\s*(?=[{HAN}])", lambda m: ","),
    rule(rf"(?<=[{_LETTERS}])-(?=[{_LETTERS}])", lambda m: " "),
    rule(rf"(?<![{_LETTERS}])'|'(?![{_LETTERS}])|[-–—]", lambda m: ""),
    rule(rf"[^{HAN}{_LETTERS}{_MARKS}' ]+", lambda m: ""),
    rule(rf"(?<![{_LETTERS}']) +| +(?![{_LETTERS}])", lambda m: ""),
    rule(rf"([{_MARKS}])[{_MARKS}]+", lambda m: m[1]),
)


def normalize(text: MappedText, *, digits: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` as it is spoken.

    Args:
        text: A sentence of Chinese, with or without foreign words; markdown, emoji and markup
            are best removed before, what remains of them is dropped.
        digits: How numbers are read that the context does not decide.

    Returns:
        Simplified characters, the marks of PUNCTUATION (never two in a row), and foreign words as
        they were, with one blank between two of them.
    """
    return _without_unreadable(in_words(text, digits=digits))


def in_words(text: MappedText, *, digits: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` as `normalize` does, with the characters that Mandarin has no reading for."""
    text = simplified(text.translated(dict(_CHARACTERS)))
    text = text.sub(_GROUPED, _ungrouped)
    for rules in _rules(digits):
        text = apply(rules, text)
    return apply(_FINAL_RULES, apply(_SIGN_RULES, text).translated(dict(_PAUSES)))


def _ungrouped(match: re.Match[str]) -> str:
    """Read 1,234,567 as an amount; leave it to later rules where a sign or unit belongs to it."""
    plain = match[0].replace(",", "")
    before = match.string[match.start() - 1 : match.start()]
    has_sign = match["unit"] or unicodedata.category(before or " ") == "Sc" or before == "-"
    return plain if has_sign else number(plain)


def _rules(digits: DigitStyle) -> tuple[tuple[Rule, ...], ...]:
    if digits is DigitStyle.CARDINAL:
        return WEB_RULES, MONEY_RULES, CALENDAR_RULES, QUANTITY_RULES, PLAIN_RULES
    # Dates come before versions (2024.3.5), quantities before mixed words (64GB, 5kg).
    named = (WEB_RULES, MONEY_RULES, CALENDAR_RULES, IDENTITY_RULES, QUANTITY_RULES, MIXED_RULES)
    if digits is DigitStyle.READ:
        one_by_one = rule(r"(?<![\d.])\d+(?![\d.])", lambda m: read_digits(m[0], telephone=True))
        return (*named, (one_by_one, *PLAIN_RULES))
    return (*named, PLAIN_RULES)


def _without_unreadable(text: MappedText) -> MappedText:
    def keep(match: re.Match[str]) -> str | None:
        if parse_syllable(dictionary_pinyin(match[0])[0]) is not None:
            return None
        logger.info("dropped U+%04X: it has no Mandarin reading", ord(match[0]))
        return ""

    return text.sub(_IS_HAN, keep)
