"""How endings and prefixes sound, for words whose stem the dictionary has."""

from __future__ import annotations

_VOICELESS = frozenset({"P", "T", "K", "F", "TH", "HH"})
_SIBILANTS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})


def _table(rows: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    pairs = (row.strip().partition(" ") for row in rows.split(","))
    return tuple((spelling, tuple(sound.split())) for spelling, _, sound in pairs)


SUFFIXES = _table(
    "ly L IY0, ness N AH0 S, nesses N AH0 S AH0 Z, less L AH0 S, ful F AH0 L, ment M AH0 N T, "
    "ments M AH0 N T S, able AH0 B AH0 L, er ER0, ers ER0 Z, ism IH2 Z AH0 M, ist IH0 S T, "
    "ists IH0 S T S, ish IH0 SH, like L AY2 K, wise W AY2 Z, ship SH IH2 P, hood HH UH2 D, "
    "ize AY2 Z, izes AY2 Z AH0 Z, ized AY2 Z D, izing AY2 Z IH0 NG, ization AH0 Z EY1 SH AH0 N"
)
PREFIXES = _table(
    "un AH2 N, non N AA2 N, re R IY2, pre P R IY2, dis D IH2 S, mis M IH2 S, over OW2 V ER0, "
    "under AH2 N D ER0, out AW2 T, sub S AH2 B, super S UW2 P ER0, multi M AH2 L T IY0, "
    "micro M AY2 K R OW0, mini M IH2 N IY0, anti AE2 N T IY0, semi S EH2 M IY0, "
    "inter IH2 N T ER0, post P OW2 S T, counter K AW2 N T ER0, hyper HH AY2 P ER0, "
    "ultra AH2 L T R AH0, auto AO2 T OW0, bio B AY2 OW0, cyber S AY2 B ER0, tele T EH2 L AH0, "
    "mega M EH2 G AH0, nano N AE2 N OW0, co K OW2, de D IY2"
)


def with_s(phones: tuple[str, ...]) -> tuple[str, ...]:
    """Return `phones` with the plural or possessive ending that follows their last sound."""
    if not phones:
        return ("EH1", "S")
    if phones[-1] in _VOICELESS:
        return (*phones, "S")
    return (*phones, "AH0", "Z") if phones[-1] in _SIBILANTS else (*phones, "Z")


def inflect(phones: tuple[str, ...], ending: str) -> tuple[str, ...]:
    """Return `phones` with the ending "s", "es", "ed" or "ing"."""
    if ending in ("s", "es"):
        return with_s(phones)
    if ending == "ing":
        return (*phones, "IH0", "NG")
    if phones[-1] in ("T", "D"):
        return (*phones, "AH0", "D")
    return (*phones, "T" if phones[-1] in _VOICELESS | {"S", "SH", "CH"} else "D")


def add_suffix(phones: tuple[str, ...], suffix: tuple[str, ...]) -> tuple[str, ...]:
    """Return `phones` with a suffix of SUFFIXES: rattle + er has no schwa left."""
    if suffix[0] == "ER0" and phones[-2:] == ("AH0", "L"):
        return (*phones[:-2], "L", *suffix)
    return (*phones, *suffix)
