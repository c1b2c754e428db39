"""Character classes and what a full stop is."""

from __future__ import annotations

import pytest

from engine.text.marks import (
    CLOSERS,
    HARD_PAUSE_MS,
    SOFT_PAUSE_MS,
    Stop,
    classify_stop,
    is_extender,
    is_regional,
    is_wide,
    is_word_letter,
)


@pytest.mark.parametrize("ch", ["好", "の", "カ", "ー", "한", "々", "〇", "ｶ", "\U00020000", "㐀"])
def test_han_kana_and_hangul_are_wide(ch: str) -> None:
    """They weigh 2."""
    assert is_wide(ch)


@pytest.mark.parametrize("ch", ["a", "1", "。", "・", "é", "я", "\u3099", "😀", "「"])
def test_everything_else_is_not_wide(ch: str) -> None:
    """Marks, letters and emoji do not."""
    assert not is_wide(ch)


@pytest.mark.parametrize("ch", ["\u200d", "\ufe0f", "\U0001f3fd", "\u0301", "\u20e3", "\u3099", "ﾞ"])
def test_extenders_belong_to_the_grapheme_before(ch: str) -> None:
    """Accents, joiners, selectors, skin tones and voiced marks extend."""
    assert is_extender(ch)
    assert not is_extender("a") and not is_extender("好") and not is_extender("😀")


def test_letters_of_word_scripts() -> None:
    """A word letter is a letter that is not wide; a flag is two regional indicators."""
    assert all(map(is_word_letter, "aéяω"))
    assert not any(map(is_word_letter, "好か1."))
    assert all(map(is_regional, "🇨🇳")) and not is_regional("c")


def test_a_mark_is_soft_or_hard_but_not_both() -> None:
    """Pauses lie in the announced ranges and no closer is a mark."""
    assert not set(SOFT_PAUSE_MS) & set(HARD_PAUSE_MS)
    assert not CLOSERS & (set(SOFT_PAUSE_MS) | set(HARD_PAUSE_MS))
    assert all(120 <= ms <= 180 for ms in SOFT_PAUSE_MS.values())
    assert all(280 <= ms <= 350 for ms in HARD_PAUSE_MS.values())


@pytest.mark.parametrize(
    ("token", "at_line_start", "stop"),
    [
        ("word", False, Stop.END),
        ("", False, Stop.END),
        ("Dr", False, Stop.PART),
        ("U.S", False, Stop.PART),
        ("Ph.D", False, Stop.PART),
        ("J", False, Stop.PART),
        ("I", False, Stop.END),
        ("ok", False, Stop.END),
        ("v2.0", False, Stop.END),
        ("12", True, Stop.PART),
        ("12", False, Stop.END),
        ("2024", True, Stop.END),
        ("No", False, Stop.END_UNLESS_NUMBER),
    ],
)
def test_full_stop(token: str, at_line_start: bool, stop: Stop) -> None:
    """Abbreviations, initials and list markers keep their full stop."""
    assert classify_stop(token, at_line_start=at_line_start) is stop
