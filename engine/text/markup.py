"""Inline pronunciations: `{重庆|chong2 qing4}` and `{tomato|T AH0 M AA1 T OW0}`.

Braces with a bar were chosen because markdown, HTML and the `[emotion]` tags of chat front ends use
neither, so a language model's ordinary output cannot become markup by accident. Text that does not
have the exact form is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from engine.errors import TextError
from engine.text.en.dictionary import ARPABET
from engine.text.han import HAN
from engine.text.mapped import MappedText
from engine.text.zh.pinyin import parse_syllable

_MARKUP = re.compile(r"\{(?P<text>[^{}|]+)\|(?P<sounds>[^{}|]*)\}")
_IS_HAN = re.compile(f"[{HAN}]")
# Letters without stress or tone digit: a vowel of ARPAbet lacks one, a pinyin syllable too.
_STRESSLESS = frozenset(phone[:-1] for phone in ARPABET if phone[-1].isdigit())


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """How a stretch of text is said.

    Attributes:
        phones: For a word in letters: its symbols, in place of its own.
        pinyin: For Han characters: one syllable each.
    """

    phones: tuple[str, ...] = ()
    pinyin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Override:
    """A pronunciation for the source characters `start:end`."""

    start: int
    end: int
    text: str  # what is overridden
    sound: Pronunciation

    def pinyin_by_offset(self, text: MappedText) -> Mapping[int, str]:
        """Return the syllable of every Han character of `text` within the override."""
        offsets = [
            start
            for char, start in zip(text.text, text.starts, strict=True)
            if self.start <= start < self.end and is_han(char)
        ]
        return MappingProxyType(dict(zip(offsets, self.sound.pinyin, strict=False)))


def is_han(char: str) -> bool:
    """True for an ideograph."""
    return _IS_HAN.match(char) is not None


def parse_pronunciation(word: str, sounds: str, where: str) -> Pronunciation:
    """Return the pronunciation written for `word`.

    Args:
        word: The text it is for: ideographs take pinyin, everything else ARPAbet.
        sounds: Pinyin with tone digits or ARPAbet with stress digits, blank-separated.
        where: What to name in an error.

    Raises:
        TextError: A sound that does not exist, or too many or too few of them.
    """
    units = sounds.split()
    if not units:
        raise TextError(f"{where}: no pronunciation is given for {word!r}", code="bad_message")
    han = [char for char in word if is_han(char)]
    if not han:
        return Pronunciation(phones=tuple(_phone(unit, where) for unit in units))
    if len(han) != len([char for char in word if not char.isspace()]):
        raise TextError(
            f"{where}: {word!r} mixes characters and letters; give each its own",
            code="bad_message",
        )
    if len(units) != len(han):
        raise TextError(
            f"{where}: {word!r} has {len(han)} characters but {len(units)} syllables are given "
            f"({sounds.strip()!r})",
            code="bad_message",
        )
    return Pronunciation(pinyin=tuple(_syllable(unit, where) for unit in units))


def _phone(unit: str, where: str) -> str:
    phone = unit.upper()
    if phone in ARPABET:
        return phone
    if phone in _STRESSLESS:
        hint = f"a vowel needs its stress: {phone}0, {phone}1 or {phone}2"
    else:
        hint = f"valid: {' '.join(sorted(ARPABET))}"
    raise TextError(f"{where}: {unit!r} is no ARPAbet phone; {hint}", code="bad_message")


def _syllable(unit: str, where: str) -> str:
    if parse_syllable(unit) is not None:
        return unit.lower()
    if parse_syllable(f"{unit}1") is not None:
        hint = f"the tone is missing: {unit}1 to {unit}4, or {unit}5 for neutral"
    else:
        hint = "write a Mandarin syllable in letters and a tone digit 1 to 5, like zhong4 or lv4"
    raise TextError(f"{where}: {unit!r} is no pinyin syllable; {hint}", code="bad_message")


def parse_markup(text: str) -> tuple[MappedText, tuple[Override, ...]]:
    """Return `text` without its inline pronunciations, and these.

    Raises:
        TextError: A pronunciation that does not exist; the message names it and what is valid.
    """
    source = MappedText.of(text)
    parts: list[MappedText] = []
    overrides: list[Override] = []
    done = 0
    for match in _MARKUP.finditer(text):
        start, end = match.span("text")
        sound = parse_pronunciation(match["text"], match["sounds"], f"markup {match.group()!r}")
        overrides.append(Override(start, end, match["text"], sound))
        parts += [source[done : match.start()], source[start:end]]
        done = match.end()
    parts.append(source[done:])
    return MappedText.join(parts), tuple(overrides)
