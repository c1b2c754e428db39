"""Hangul syllables taken apart into the letters of Unicode's U+1100 block, and their symbols."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# The inventory has simple vowels; these are said as two of them.
_GLIDES: Mapping[str, str] = {
    "ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ",
    "ㅢ": "ㅡㅣ",
    "ㅑ": "ㅣㅏ", "ㅒ": "ㅣㅐ", "ㅕ": "ㅣㅓ", "ㅖ": "ㅣㅔ", "ㅛ": "ㅣㅗ", "ㅠ": "ㅣㅜ",
}  # fmt: skip
_SYMBOLS: Mapping[str, str] = {
    **{chr(0x1100 + i): letter for i, letter in enumerate(_INITIALS)},
    **{chr(0x1161 + i): _GLIDES.get(letter, letter) for i, letter in enumerate(_VOWELS)},
    **{chr(0x11A8 + i): letter for i, letter in enumerate(_FINALS)},
}
_BARE_VOWEL = re.compile("(?<![\u1100-\u1112])(?=[\u1161-\u1175])")


def apart(text: str) -> str:
    """Return `text` with every hangul syllable as its two or three letters."""
    return "".join(
        unicodedata.normalize("NFD", char) if "가" <= char <= "힣" else char for char in text
    )


def final(char: str) -> str:
    """Return the last letter of a syllable."""
    return apart(char)[-1]


def with_initials(letters: str) -> str:
    """Return `letters` with the silent initial before every vowel that has none."""
    return _BARE_VOWEL.sub("ᄋ", letters)


def symbols(letter: str) -> str:
    """Return the inventory's letters for one of `apart` or a letter by itself; "" if it is none."""
    if "ㄱ" <= letter <= "ㅣ":
        return _GLIDES.get(letter, letter)
    return _SYMBOLS.get(letter, "")
