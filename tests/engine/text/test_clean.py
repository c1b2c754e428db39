from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.clean import clean, is_speakable
from engine.text.mapped import MappedText

CASES = {
    "**bold** and *italic* and __both__ and ~~gone~~": "bold and italic and both and gone",
    "# Heading": "Heading",
    "> quoted": "quoted",
    "- one\n- two": "one, two",
    "* 苹果\n* 香蕉": "苹果, 香蕉",
    "1. first": "1. first",
    "- [x] done": "done",
    "use `code` here": "use code here",
    "```python\nprint(1)\n```": "print(1)",
    '[the text](https://a.b/c?d=1 "t") stays': "the text stays",
    "![图片](http://x.y/z.png)说明": "图片说明",
    "<b>fat</b> &amp; thin<br>next": "fat & thin, next",
    "<https://a.com>": "https://a.com",
    "a < b and b > c": "a < b and b > c",
    "| a | b |\n|---|---|\n| c | d |": "a, b, c, d",
    "你好😀世界👨‍👩‍👧！🇨🇳": "你好 世界 !",
    "star ⭐ sun ☀️ ok": "star sun ok",
    "great :) thanks <3": "great thanks",
    "１２３ＡＢＣ％": "123ABC%",
    "３：３０": "3:30",
    "wow!!! really?! no... yes": "wow! really? no. yes",
    "好。。。吗？？": "好。吗？",
    "zero\u200bwidth\ufeff\x00": "zerowidth",
    "a\t b\r\n\r\nc": "a b, c",
    "snake_case_name": "snake_case_name",
    "2*3*4": "2*3*4",
    "5 - -3": "5 - -3",
    "a \\* b": "a b",
    "25℃ 50% €5": "25℃ 50% €5",
    "cafe\u0301 か\u3099く \u1112\u1161\u11ab": "caf\u00e9 がく 한",  # letters in pieces
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_only_what_is_said_is_left(text: str, expected: str) -> None:
    """Markup, emoji and control characters go, words and signs stay."""
    assert clean(MappedText.of(text)).text == expected.replace(" !", " ！").replace("？！", "？")


def test_kept_characters_know_their_place() -> None:
    """The words of a link point at themselves, not at the link."""
    source = "看[这里](http://a.b)😀 **吧**"
    text = clean(MappedText.of(source))
    assert text.text == "看这里 吧"
    for char in "看这里吧":
        at = text.text.index(char)
        start, end = text.span(at, at + 1)
        assert source[start:end] == char


@given(st.text(max_size=60))
def test_any_text_cleans_to_one_line(source: str) -> None:
    """No input raises, and the result has no line break, no outer blank, no stray offset."""
    text = clean(MappedText.of(source))
    assert "\n" not in text.text
    assert text.text == text.text.strip()
    assert all(0 <= s <= e <= len(source) for s, e in zip(text.starts, text.ends, strict=True))


def test_marks_alone_are_not_speech() -> None:
    """Letters, digits and ideographs are; marks, blanks and emoji are not."""
    assert not is_speakable("…！ 😀 *")
    assert all(map(is_speakable, ("a", "1", "你", "é", "한")))
