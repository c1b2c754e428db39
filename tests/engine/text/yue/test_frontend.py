from __future__ import annotations

import pytest

from engine.text.yue.frontend import CantoneseFrontend

pytest.importorskip("ToJyutping")


def test_characters_point_at_their_source() -> None:
    """Every character is a word of its own; numbers share the digits they came from."""
    text = "佢買咗12個蘋果。"
    words = CantoneseFrontend("v2").phonemize(text)
    assert [(w.text, text[w.start : w.end]) for w in words] == [
        ("佢", "佢"), ("買", "買"), ("咗", "咗"), ("十", "12"), ("二", "12"), ("個", "個"),
        ("蘋", "蘋"), ("果", "果"), (".", "。"),
    ]  # fmt: skip


def test_a_character_of_two_syllables_has_four_phones() -> None:
    """卅 is saa1 aa6; upstream's cut makes it unknown."""
    (word,) = CantoneseFrontend("v2").phonemize("卅")
    assert word.phones == ("Ys", "Yaa1", "Yaa", "Ya6")


def test_what_has_no_reading_is_left_out() -> None:
    """Foreign letters and characters unknown to the dictionary are not spoken."""
    assert [w.text for w in CantoneseFrontend("v2").phonemize("ABC，好")] == [",", "好"]
