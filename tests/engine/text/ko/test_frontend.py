from __future__ import annotations

import pytest

from engine.text.ko.frontend import KoreanFrontend

pytest.importorskip("mecab")


def test_words_point_at_their_source_and_carry_their_blank() -> None:
    """The blank after a word is its last phone; the end is closed."""
    text = "책 2권을 읽어요"
    words = KoreanFrontend("v2").phonemize(text)
    assert [(w.text, text[w.start : w.end]) for w in words] == [
        ("책", "책"), ("두권을", "2권을"), ("읽어요", "읽어요"), (".", ""),
    ]  # fmt: skip
    assert [w.phones[-1] for w in words] == ["空", "空", "ㅗ", "."]


def test_signs_stop_the_voice() -> None:
    """Quotes are phones of the word beside them, not words."""
    words = KoreanFrontend("v2").phonemize('"네"라고.')
    assert [w.phones for w in words] == [
        ("停", "ㄴ", "ㅔ", "停"), ("ㄹ", "ㅏ", "ㄱ", "ㅗ"), (".",),
    ]  # fmt: skip
