"""Word and character errors, after both sides were brought to one spelling.

Chinese is scored by character, English by word, a mixed sentence by both (every character and every
word is one unit). Numbers are spelled out the way they are counted (27.5 -> twenty seven point
five); what may be read in several ways is covered by the forms a list gives. Traditional
characters become simplified ones, case and punctuation go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pypinyin import Style, lazy_pinyin

from engine.text.han import COMMON
from engine.text.mapped import MappedText
from engine.text.zh.simplify import simplified

_UNIT = re.compile(f"[{COMMON}]|[a-z0-9]+")
_NUMBER = re.compile(r"(?<![a-z])\d[\d,]*(?:\.\d+)?%?(?:st|nd|rd|th)?")
_HAN_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?%?")
_HAN = re.compile(f"[{COMMON}]")
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
             "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
_HAN_DIGITS = "零一二三四五六七八九"
# Spellings of one word; recogniser and list need not agree on them.
_SPELLINGS = {
    "metre": "meter", "metres": "meters", "kilometre": "kilometer", "kilometres": "kilometers",
    "grey": "gray", "neighbour": "neighbor", "neighbours": "neighbors",
    "harbour": "harbor", "colour": "color", "ok": "okay",
    "mr": "mister", "mrs": "missus", "dr": "doctor", "until": "til",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Errors:
    """Edits that lead from what was heard to what was to be said."""

    edits: int
    units: int  # of the form that was to be said

    @property
    def rate(self) -> float:
        """Edits per unit."""
        return self.edits / max(1, self.units)


def errors(forms: Sequence[str], heard: str) -> Errors:
    """Return the errors against the form that fits best."""
    found = [Errors(distance(units(form), units(heard)), len(units(form))) for form in forms]
    return min(found, key=lambda e: e.rate)


def pinyin_errors(forms: Sequence[str], heard: str) -> Errors:
    """Return errors by syllable with its tone: homophones are the recogniser's choice, not ours."""
    spoken = [_pinyin(units(form)) for form in forms]
    said = _pinyin(units(heard))
    return min((Errors(distance(s, said), len(s)) for s in spoken), key=lambda e: e.rate)


def units(text: str) -> list[str]:
    """Return the characters and words that are compared."""
    text = simplified(MappedText.of(text)).text.lower().replace("'", "").replace("\u2019", "")
    if _HAN.search(text):
        text = re.sub(r"-(?=\d)", "零下" if "度" in text else "负", text)
        text = _HAN_NUMBER.sub(lambda match: _spoken(match.group(), han_number), text)
        text = text.replace("幺", "一").replace("两", "二").replace("〇", "零")
        text = text.replace("一十", "十")  # 110 is said with its one or without
    else:
        text = re.sub(r"(?<![\w])-(?=\d)", "minus ", text)
        text = re.sub(r"\$(\d[\d,]*)", r"\1 dollars ", text)
        text = _NUMBER.sub(lambda match: f" {_spoken(match.group(), english_number)} ", text)
    return [_SPELLINGS.get(unit, unit) for unit in _UNIT.findall(text)]


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the least number of substitutions, deletions and insertions."""
    row = np.arange(len(b) + 1)
    for i, unit in enumerate(a, 1):
        before, row[0] = row.copy(), i
        for j, other in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (unit != other))
    return int(row[-1])


def english_number(value: int) -> str:
    """Return a whole number in words, as it is counted."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        rest = f" {_ONES[value % 10]}" if value % 10 else ""
        return _TENS[value // 10] + rest
    scale, name = next(pair for pair in _SCALES if value >= pair[0])
    rest = f" {english_number(value % scale)}" if value % scale else ""
    return f"{english_number(value // scale)} {name}{rest}"


def han_number(value: int) -> str:
    """Return a whole number in Chinese characters, as it is counted."""
    for scale, name in ((10**8, "亿"), (10**4, "万")):
        if value >= scale:
            rest = value % scale
            gap = "零" if 0 < rest < scale // 10 else ""
            return han_number(value // scale) + name + gap + (han_number(rest) if rest else "")
    if value < 10:
        return _HAN_DIGITS[value]
    scale, name = next(p for p in ((1000, "千"), (100, "百"), (10, "十")) if value >= p[0])
    rest = value % scale
    gap = "零" if 0 < rest < scale // 10 else ""
    head = "" if 10 <= value < 20 else _HAN_DIGITS[value // scale]
    tail = han_number(rest) if rest else ""
    return head + name + gap + tail


def _spoken(written: str, whole: Callable[[int], str]) -> str:
    """Spell out digits: counted, unless it is a row of them such as a telephone number."""
    is_han = whole is han_number
    number = re.sub(r"[^\d.]", "", written)
    head, _, tail = number.partition(".")
    digits = _HAN_DIGITS if is_han else _ONES
    join = "" if is_han else " "
    if len(head) > 9 or (len(head) > 1 and head[0] == "0"):
        text = join.join(digits[int(d)] for d in head)
    else:
        text = whole(int(head or 0))
    if tail:
        text += ("点" if is_han else " point ") + join.join(digits[int(d)] for d in tail)
    if written.endswith("%"):
        return f"百分之{text}" if is_han else f"{text} percent"
    return _ordinal(text) if written[-2:] in ("st", "nd", "rd", "th") else text


def _ordinal(words: str) -> str:
    head, _, last = words.rpartition(" ")
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{head} {last}".strip()


def _pinyin(found: Sequence[str]) -> list[str]:
    text = "".join(f" {unit} " if unit.isascii() else unit for unit in found)
    out = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)
    return [word for piece in out for word in piece.split()]
