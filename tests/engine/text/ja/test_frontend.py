from __future__ import annotations

import pytest

from engine.text.ja.frontend import JapaneseFrontend

pytest.importorskip("pyopenjtalk")


def test_words_point_at_their_source() -> None:
    """A number's words share its digits; marks and quotes are words of their own."""
    text = "「20日に3.5キロ」。"
    words = JapaneseFrontend("v2").phonemize(text)
    assert [(w.text, text[w.start : w.end]) for w in words] == [
        ("「", "「"), ("二十日", "20日"), ("に", "に"), ("三", "3"), ("．", "."), ("五", "5"),
        ("キロ", "キロ"), ("」", "」"), (".", "。"),
    ]  # fmt: skip
    assert words[0].phones == ("UNK",)


def test_pauses_inside_a_phrase_belong_to_the_word_before() -> None:
    """・ is silence, and no phones are lost around it."""
    words = JapaneseFrontend("v2").phonemize("東京・大阪")
    assert [w.phones[-1] for w in words] == ["_", "a"]


def test_what_cannot_be_read_is_silent() -> None:
    """A piece OpenJTalk has no reading for gives no words."""
    assert JapaneseFrontend("v2").phonemize("") == []
