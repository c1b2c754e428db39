from __future__ import annotations

import pytest

from engine.errors import TextError
from engine.text.markup import parse_markup


def test_markup_is_taken_out_and_remembered() -> None:
    """The text is as without markup; each override knows which source characters it is for."""
    source = "去{重庆|chong2 qing4}吃{tomato|t ah0 M AA1 T OW0}。"
    text, overrides = parse_markup(source)
    assert text.text == "去重庆吃tomato。"
    pinyin, arpabet = overrides
    assert source[pinyin.start : pinyin.end] == pinyin.text == "重庆"
    assert pinyin.sound.pinyin == ("chong2", "qing4")
    assert pinyin.pinyin_by_offset(text) == {2: "chong2", 3: "qing4"}
    assert source[arpabet.start : arpabet.end] == "tomato"
    assert arpabet.sound.phones == ("T", "AH0", "M", "AA1", "T", "OW0")


@pytest.mark.parametrize("text", ["{a}", "{|}", "{a|b|c}", "a|b", "{ {x|", '{"json": 1}', ""])
def test_other_braces_are_text(text: str) -> None:
    """Only the exact form is markup."""
    assert parse_markup(text)[0].text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{重|chong}", "'chong' is no pinyin syllable; the tone is missing: chong1 to chong4"),
        ("{重|chonk2}", "'chonk2' is no pinyin syllable; write a Mandarin syllable"),
        ("{重庆|chong2}", "'重庆' has 2 characters but 1 syllables are given"),
        ("{a|XX0}", "'XX0' is no ARPAbet phone; valid: AA0 AA1"),
        ("{a|AH}", "a vowel needs its stress: AH0, AH1 or AH2"),
        ("{a| }", "no pronunciation is given for 'a'"),
        ("{AI重|EY1}", "mixes characters and letters"),
    ],
)
def test_bad_pronunciations_are_named(text: str, message: str) -> None:
    """The error quotes the markup, the sound and what is valid."""
    with pytest.raises(TextError) as caught:
        parse_markup(f"好{text}")
    assert message in str(caught.value)
    assert text in str(caught.value)
    assert caught.value.code == "bad_message"
