from __future__ import annotations

from engine.text.ko.jamo import apart, final, symbols, with_initials


def test_syllables_come_apart() -> None:
    """What is no syllable stays."""
    assert apart("한a ㅋ") == "\u1112\u1161\u11aba ㅋ"
    assert final("한") == "ᆫ"
    assert final("하") == "ᅡ"
    assert with_initials("\u1161\u1100\u1161") == "\u110b\u1161\u1100\u1161"


def test_letters_are_those_of_the_inventory() -> None:
    """Initial and final ㄱ are one symbol; glides are two vowels."""
    assert [symbols(letter) for letter in ("ᄀ", "ᆨ", "ᅪ", "ㅋ", "ㅘ", "a")] == [
        "ㄱ", "ㄱ", "ㅗㅏ", "ㅋ", "ㅗㅏ", "",
    ]  # fmt: skip
