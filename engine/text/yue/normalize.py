"""Cantonese as it is read out: Chinese number rules, in the characters it was written with."""

from __future__ import annotations

import re

from engine.text.han import COMMON, RARE
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle
from engine.text.zh import normalize as zh

_IS_HAN = re.compile(f"[{COMMON}{RARE}]")  # 〇 is read as the number it is
# What the Chinese rules would drop or cannot see stands as this character until they have run.
_ANY = "佢"
_UNSEEN = re.compile(f"[{RARE}]")


def normalize(text: MappedText, digits: DigitStyle = DigitStyle.AUTO) -> MappedText:
    """Return `text` in words and marks.

    The rules for numbers are those of Chinese, which know simplified characters only; every
    character that they left in its place is then put back as it was written: 係 and 系, 幾 and 几
    are read apart. Digits said one by one have 一, not the 幺 of Mandarin.
    """
    ruled = zh.in_words(text.sub(_UNSEEN, _ANY), digits=digits)
    written = {
        start: char
        for char, start, end in zip(text.text, text.starts, text.ends, strict=True)
        if end == start + 1 and _IS_HAN.match(char)
    }
    chars = [
        written.get(start, char) if end == start + 1 and _IS_HAN.match(char) else char
        for char, start, end in zip(ruled.text, ruled.starts, ruled.ends, strict=True)
    ]
    back = [
        "一" if char == "幺" and start not in written else char
        for char, start in zip(chars, ruled.starts, strict=True)
    ]
    return MappedText("".join(back), ruled.starts, ruled.ends)
