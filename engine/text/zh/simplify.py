"""Traditional characters in simplified form, one for one.

A table instead of wetext's FST: loading that costs half a second and 27 MB, for a lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from engine.text import packaged
from engine.text.mapped import MappedText
from engine.text.zh.rules import apply, rule

# Characters of both scripts, whose simplified form depends on the word.
_IN_TRADITIONAL_TEXT = (
    rule("(?<![名编原专巨论土显卓遗合译])著(?![名作述书称录])", lambda m: "着"),
    rule("乾(?![隆坤])", lambda m: "干"),
    rule("瞭(?!望)", lambda m: "了"),
)


@cache
def _table() -> Mapping[int, str]:
    lines = packaged.lines("zh_traditional.txt")
    pairs = zip("".join(lines[::2]), "".join(lines[1::2]), strict=True)
    return MappingProxyType({ord(traditional): simple for traditional, simple in pairs})


def simplified(text: MappedText) -> MappedText:
    """Return `text` in simplified characters; simplified text comes back as it is."""
    new = text.text.translate(_table())
    if new == text.text:
        return text
    return apply(_IN_TRADITIONAL_TEXT, MappedText(new, text.starts, text.ends))
