"""The ideographs of expressions are those of the splitter."""

from __future__ import annotations

import re

from engine.text.han import COMMON, HAN, RARE, ZERO
from engine.text.marks import is_han


def test_they_are_those_that_are_weighed() -> None:
    """Every one is wide and an ideograph to `marks` too, which also knows what is not assigned."""
    expression = re.compile(f"[{HAN}]")
    ours = {code for code in range(0x40000) if expression.match(chr(code))}
    theirs = {code for code in range(0x3134F) if is_han(chr(code))}
    assert ours - theirs == {0x3134F}
    assert theirs - ours == {ord("々")}


def test_no_character_is_in_two_of_them() -> None:
    """Rules leave some of them out on purpose."""
    for char in "〇一鿿㐀䶿豈﫿𠀀𱍏":
        assert sum(bool(re.match(f"[{part}]", char)) for part in (COMMON, RARE, ZERO)) == 1
    for char in "々〆ぁ。a1":
        assert not re.match(f"[{HAN}]", char)
