"""How Korean sounds: the standard pronunciation rules on syllables taken apart.

The rules and their order are those of g2pk2 0.0.3, which upstream's checkpoints learnt from, but
for the names of letters (16), which there are any ㅡ: 늦은 became 느슨. Numbers are articles of the
standard.
"""

from __future__ import annotations

import re
from functools import cache

from engine.text import packaged
from engine.text.ko.jamo import apart, final, with_initials

_TENSE = {"ᄀ": "ᄁ", "ᄃ": "ᄄ", "ᄇ": "ᄈ", "ᄉ": "ᄊ", "ᄌ": "ᄍ"}
_STEM_TENSE = {"ᄀ": "ᄁ", "ᄃ": "ᄄ", "ᄉ": "ᄊ", "ᄌ": "ᄍ"}
_STEM, _ENDING = "\ue000", "\ue001"  # marks after a verb's stem, and after an ending in ㄹ
_AFTER_RIEUL = (
    ("걸", "껄"), ("밖에", "빠께"), ("세라", "쎄라"), ("수록", "쑤록"), ("지라도", "찌라도"),
    ("지언정", "찌언정"), ("진대", "찐대"),
)  # fmt: skip
_STEM_FINALS = frozenset("ᆫᆬᆷᆱᆰᆲᆴ")

Rule = tuple[re.Pattern[str], str]


def _rule(pattern: str, replacement: str) -> Rule:
    return re.compile(pattern), replacement


def _named(*syllables: str) -> str:
    return f"({'|'.join(map(apart, syllables))})"


_SPECIAL: tuple[Rule, ...] = (
    _rule("([ᄌᄍᄎ])ᅧ", r"\1ᅥ"),  # 5.1
    _rule("([ᄀ-ᄊᄌ-ᄒ])ᅴ", r"\1ᅵ"),  # 5.3
    _rule(_named("디그") + "ᆮᄋ", r"\1ᄉ"),  # 16
    _rule(_named("지으", "치으", "티으", "히으") + "[ᆽᆾᇀᇂ]ᄋ", r"\1ᄉ"),
    _rule(_named("키으") + "ᆿᄋ", r"\1ᄀ"),
    _rule(_named("피으") + "ᇁᄋ", r"\1ᄇ"),
    _rule(f"ᆰ{_STEM}[ᄀᄁ]", "ᆯᄁ"),  # 11.1
    *(_rule(f"([ᆲᆴ]){_STEM}{plain}", rf"\1{tense}") for plain, tense in _STEM_TENSE.items()),  # 25
    *(_rule(f"([ᆫᆷ]){_STEM}{plain}", rf"\1{tense}") for plain, tense in _STEM_TENSE.items()),  # 24
    *(_rule(f"ᆬ{_STEM}{plain}", f"ᆫ{tense}") for plain, tense in _STEM_TENSE.items()),
    *(_rule(f"ᆱ{_STEM}{plain}", f"ᆷ{tense}") for plain, tense in _STEM_TENSE.items()),
    _rule(_named("바") + "ᆲ(?=$|[^ᄋᄒ])", r"\1ᆸ"),  # 10.1
    _rule(_named("너") + "ᆲ(?=[ᄃᄄᄌᄍ]ᅮ)", r"\1ᆸ"),
    _rule("ᆮᄋ([ᅵᅧ])", r"ᄌ\1"),  # 17
    _rule("ᇀᄋ([ᅵᅧ])", r"ᄎ\1"),
    _rule("ᆴᄋ([ᅵᅧ])", r"ᆯᄎ\1"),
    _rule("ᆮ히", "치"),
    *(_rule(f"ᆯ{_ENDING} {plain}", f"ᆯ {tense}") for plain, tense in _TENSE.items()),  # 27
    *(_rule(f"ᆯ{apart(plain)}", f"ᆯ{apart(tense)}") for plain, tense in _AFTER_RIEUL),
    _rule(f"[{_STEM}{_ENDING}]", ""),
)  # fmt: skip
# 13 to 15: a final moves into the silent initial after it.
_LINKS: tuple[tuple[str, str], ...] = (
    *((f"{f}ᄋ", i) for f, i in zip("ᆨᆩᆫᆮᆯᆷᆸᆺᆻᆽᆾᆿᇀᇁ", "ᄀᄁᄂᄃᄅᄆᄇᄉᄊᄌᄎᄏᄐᄑ", strict=True)),
    *((f"{f}ᄋ", i) for f, i in zip(
        "ᆪᆬᆰᆱᆲᆳᆴᆵᆹ", ("ᆨᄊ", "ᆫᄌ", "ᆯᄀ", "ᆯᄆ", "ᆯᄇ", "ᆯᄊ", "ᆯᄐ", "ᆯᄑ", "ᆸᄊ"), strict=True
    )),
    ("ᇂᄋ", "ᄋ"), ("ᆭᄋ", "ᄂ"), ("ᆶᄋ", "ᄅ"),  # 12.4
)  # fmt: skip
# "을 ㄹ" and "를 ㄹ": g2pk2 keeps the ㄹ of the next word, which upstream mends.
_NEXT_RIEUL = _rule("([ᄋᄅ]ᅳᆯ) ᄅ", r"\1 ᄂ")


@cache
def _words() -> tuple[tuple[str, str], ...]:
    rows = (line.split(" ") for line in packaged.lines("ko_words.txt"))
    return tuple((row[0], row[1]) for row in rows)


@cache
def _finals() -> tuple[Rule, ...]:
    rules = []
    for row in packaged.lines("ko_finals.txt"):
        last, _, cells = row.partition(": ")
        for cell in cells.split(" "):
            follows = r"(\W|$)" if cell[0] == "$" else f"( ?){cell[0]}"
            kept = "" if cell[1] == "-" else cell[1]
            rules.append(_rule(last + follows, rf"{kept}\1{cell[2:]}"))
    return tuple(rules)


def respelled(text: str) -> str:
    """Return `text` with the words of data/ko_words.txt written as they are said.

    Every word keeps its number of syllables, so characters stay where they are.
    """
    for written, said in _words():
        text = text.replace(written, said)
    return text


def sounds(text: str, tags: list[str]) -> str:
    """Return `text` as letters of U+1100 in the way it is said; its blanks stay.

    Args:
        text: Hangul words, marks and blanks.
        tags: By character, what `tagger.tags` found.
    """
    letters = apart("".join(map(_marked, text, tags)))
    for pattern, replacement in (*_SPECIAL, *_finals()):
        letters = pattern.sub(replacement, letters)
    for written, said in _LINKS:
        letters = letters.replace(written, said)
    pattern, replacement = _NEXT_RIEUL
    return pattern.sub(replacement, with_initials(letters))


def _marked(char: str, tag: str) -> str:
    if tag.startswith("E") and final(char) == "ᆯ":
        return char + _ENDING
    if tag.startswith("V") and final(char) in _STEM_FINALS:
        return char + _STEM
    return char
