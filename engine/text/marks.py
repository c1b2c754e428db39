"""The characters that matter for cutting a text: punctuation, quotes, abbreviations, weights."""

from __future__ import annotations

import unicodedata
from enum import Enum

ZWJ = "\u200d"
WORD_LETTERS_PER_WEIGHT = 8  # a long word weighs more: "Donaudampfschiff" is not "the"

PAIRS = {
    "“": "”", "‘": "’", "「": "」", "『": "』", "（": "）", "(": ")", "【": "】", "《": "》",
    "〈": "〉", "[": "]", "［": "］", "{": "}", "«": "»", '"': '"', "＂": "＂",
}  # fmt: skip
CLOSERS = frozenset(PAIRS.values())
# Milliseconds of silence after a mark, for those spoken mid-utterance.
SOFT_PAUSE_MS = {
    "，": 150, ",": 150, "､": 120, "、": 120, "；": 180, ";": 180, "：": 180, ":": 180, "—": 150,
}  # fmt: skip
HARD_PAUSE_MS = {
    "。": 300, "｡": 300, ".": 300, "．": 300, "！": 320, "!": 320, "？": 320, "?": 320,
    "…": 350, "‥": 350, "\n": 350, "‼": 320, "⁉": 320,
}  # fmt: skip
GROWING_MARKS = frozenset("…‥—")  # come in pairs: "……", "——"
# What glues into one run together with letters and digits: a domain, a time, a price.
RUN_JOINERS = frozenset(".,:/%-@_&=+#~\\$'’．")
RUN_STARTERS = RUN_JOINERS - frozenset("'’")
RUN_END_MARKS = ".,:;?!．，："
AFTER_DIGIT_JOINERS = frozenset("，：")  # "1，000" and "12：30"
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sr jr st vs etc inc ltd co corp dept est gen gov hon lt col capt sgt rev mt"
    " ave blvd approx al cf ca eds jan feb aug sept oct nov dec messrs mme mlle phd".split()
)
NUMBERED_ABBREVIATIONS = frozenset("no nos fig figs vol vols pp ch sec art nr eq ver".split())


class Stop(Enum):
    """What a full stop after a token is."""

    END = 1
    PART = 2  # of an abbreviation, an initial or a list marker
    END_UNLESS_NUMBER = 3  # "No. 5" against "No. I will not."


def is_wide(ch: str) -> bool:
    """Return True for han, kana and hangul syllables, which weigh 2."""
    code = ord(ch)
    if code < 0x3005:
        return False
    return (
        0x4E00 <= code <= 0x9FFF
        or (0x3041 <= code <= 0x30FF and code not in (0x3099, 0x309A, 0x30A0, 0x30FB))
        or 0xAC00 <= code <= 0xD7A3
        or 0x3400 <= code <= 0x4DBF
        or code in (0x3005, 0x3007)
        or 0xF900 <= code <= 0xFAFF
        or 0xFF66 <= code <= 0xFF9D
        or 0x20000 <= code <= 0x3FFFF
    )


def is_han(ch: str) -> bool:
    """Return True for an ideograph."""
    return is_wide(ch) and not (is_kana(ch) or is_hangul(ch))


def is_kana(ch: str) -> bool:
    """Return True for hiragana and katakana, the sign of a long vowel included."""
    return 0x3041 <= ord(ch) <= 0x30FF or 0xFF66 <= ord(ch) <= 0xFF9D


def is_hangul(ch: str) -> bool:
    """Return True for a syllable of hangul, whose words have blanks between them."""
    return 0xAC00 <= ord(ch) <= 0xD7A3


def is_hiragana(ch: str) -> bool:
    """Return True for hiragana, which end a Japanese phrase more often than they begin one."""
    return 0x3041 <= ord(ch) <= 0x309F


def is_extender(ch: str) -> bool:
    """Return True if `ch` belongs to the grapheme before it (accents, ZWJ, skin tones, ...)."""
    code = ord(ch)
    if code < 0x300:
        return False
    return (
        ch == ZWJ
        or 0xFE00 <= code <= 0xFE0F
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE01EF
        or 0x1160 <= code <= 0x11FF  # vowels and finals of decomposed hangul
        or 0xFF9E <= code <= 0xFF9F
        or unicodedata.category(ch) in ("Mn", "Me", "Mc")
    )


def is_regional(ch: str) -> bool:
    """Return True for half of a flag emoji."""
    return 0x1F1E6 <= ord(ch) <= 0x1F1FF


def is_word_letter(ch: str) -> bool:
    """Return True for a letter of a script that writes words: Latin, Cyrillic, Greek, ..."""
    return ch.isalpha() and not is_wide(ch)


def classify_stop(token: str, *, at_line_start: bool) -> Stop:
    """Return what the full stop after `token` is."""
    if not token:
        return Stop.END
    if at_line_start and len(token) <= 3 and token.isdecimal():
        return Stop.PART  # "1. First"
    word = token.lower().lstrip("-/")
    if word in NUMBERED_ABBREVIATIONS:
        return Stop.END_UNLESS_NUMBER
    if word in ABBREVIATIONS:
        return Stop.PART
    # "J. Smith", "e.g.", "U.S.", "Ph.D."
    if all(part.isalpha() and len(part) <= 2 for part in word.split(".")):
        if "." in word or (len(word) == 1 and word != "i"):
            return Stop.PART
    return Stop.END
