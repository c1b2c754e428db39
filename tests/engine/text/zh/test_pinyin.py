"""Pinyin spelled in phonemes."""

from __future__ import annotations

import pytest

from engine.text.symbols import symbol_table
from engine.text.zh.pinyin import Syllable, parse_syllable


@pytest.mark.parametrize(
    ("pinyin", "phones"),
    [
        ("zhong1", ("zh", "ong1")),
        ("zhi4", ("zh", "ir4")),
        ("si2", ("s", "i02")),
        ("lv4", ("l", "v4")),
        ("lü4", ("l", "v4")),
        ("ju1", ("j", "v1")),
        ("jv1", ("j", "v1")),
        ("yuan2", ("y", "van2")),
        ("er5", ("EE", "er5")),
        ("ai4", ("AA", "ai4")),
        ("YAN3", ("y", "En3")),
    ],
)
def test_syllables(pinyin: str, phones: tuple[str, str]) -> None:
    """Apical vowels, the umlaut and missing initials have names of their own."""
    syllable = parse_syllable(pinyin)
    assert syllable is not None
    assert syllable.phones(syllable.tone) == phones


@pytest.mark.parametrize("pinyin", ["", "zhong", "zhong6", "bza1", "你", ",", "a1b2", "hm5"])
def test_what_is_no_syllable(pinyin: str) -> None:
    """Anything Mandarin does not have is None, never an error."""
    assert parse_syllable(pinyin) is None


def test_every_syllable_is_in_both_inventories() -> None:
    """The table names only symbols that the packs have."""
    v1 = symbol_table("v1")
    for letters in ("cei", "dia", "kei", "rua", "lo", "nou", "zhei", "weng", "yo", "nve"):
        for tone in "12345":
            syllable = parse_syllable(f"{letters}{tone}")
            assert syllable is not None
            assert all(phone in v1 for phone in syllable.phones(syllable.tone))


def test_tone_can_be_replaced() -> None:
    """Sandhi changes the tone and nothing else."""
    assert Syllable("h", "ao", 3).phones(2) == ("h", "ao2")
