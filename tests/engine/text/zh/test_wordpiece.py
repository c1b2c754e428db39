"""BERT tokens and where each character went."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BackendUnavailable
from engine.text.zh.wordpiece import WordPiece

_IDS = {
    t: i for i, t in enumerate(["[UNK]", "[CLS]", "[SEP]", "你", "好", "ab", "##c", "1", "##2"])
}


def test_one_token_per_character() -> None:
    """Han characters stand alone; [CLS] shifts their places by one."""
    assert WordPiece(_IDS).encode("你好") == ([1, 3, 4, 2], [1, 2])


def test_words_are_split_longest_first() -> None:
    """All characters of a piece share its place."""
    assert WordPiece(_IDS).encode("你abc12")[0] == [1, 3, 0, 2]
    assert WordPiece(_IDS).encode("abc你12") == ([1, 5, 6, 3, 7, 8, 2], [1, 1, 2, 3, 4, 5])


def test_unknown_characters_keep_their_place() -> None:
    """What the vocabulary lacks is one [UNK]."""
    assert WordPiece(_IDS).encode("猫好") == ([1, 0, 4, 2], [1, 2])


def test_blanks_have_no_token() -> None:
    """A blank points at what follows it."""
    assert WordPiece(_IDS).encode("你 好") == ([1, 3, 4, 2], [1, 2, 2])


def test_other_files_are_refused(tmp_path: Path) -> None:
    """The missing token is named."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match=r"lacks \[SEP\]"):
        WordPiece.read(tmp_path / "vocab.txt")
