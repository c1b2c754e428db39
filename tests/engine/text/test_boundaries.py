"""BoundaryScanner: places, marks and what is certain when."""

from __future__ import annotations

import pytest

from engine.text.boundaries import Boundary, BoundaryScanner, Strength


def scan(text: str) -> tuple[BoundaryScanner, list[Boundary]]:
    scanner = BoundaryScanner()
    return scanner, [found for ch in text if (found := scanner.push(ch)) is not None]


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("你好", 4), ("你好，", 5), ("カー", 4), ("안녕", 4), ("hello", 2), ("hello world", 4),
        ("don't", 2), ("international", 3), ("19.9", 4), ("a\u0301", 2), (" \n", 0),
        ("<b>x</b>", 4),
    ],
)  # fmt: skip
def test_weights(text: str, weight: int) -> None:
    """Han, kana, hangul 2; a word 2 and a little for length; other 1; spaces and tags nearly 0."""
    assert scan(text)[0].here.weight == weight


def test_mark_is_certain_with_the_next_character() -> None:
    """A mark is tentative first, may be used at once, and settles with what follows."""
    scanner, found = scan("好。")
    assert found == [] and scanner.tentative is not None and scanner.is_immediate
    settled = scanner.push("天")
    assert settled == Boundary(2, 3, 1, Strength.HARD, 300)
    assert scanner.tentative is None


def test_closers_and_marks_stick_to_the_left() -> None:
    """The boundary moves behind what belongs to the mark; its strength and pause are the most."""
    _, found = scan("好，？！”）天")
    assert found == [Boundary(6, 7, 1, Strength.HARD, 320)]


@pytest.mark.parametrize("text", ["好…", "好—"])
def test_growing_marks_are_not_immediate(text: str) -> None:
    """Ellipses and dashes come in pairs that must not be parted."""
    assert not scan(text)[0].is_immediate


def test_marks_inside_quotes_are_remembered_but_not_found() -> None:
    """They serve when a cut has to be made anyway."""
    scanner, found = scan("“好，天")
    assert found == []
    assert scanner.last_mark is not None and scanner.last_mark.position == 3


@pytest.mark.parametrize(
    ("text", "position"),
    [("ab cd", 3), ("天地", 1), ("天ab", 1), ("ab天", 0), ("天1", 0), ("天，", 0)],
)
def test_safe_gaps(text: str, position: int) -> None:
    """Between words and between han, but not between a number and its unit or before a mark."""
    safe = scan(text)[0].last_safe
    assert safe is not None and safe.position == position


@pytest.mark.parametrize(
    ("text", "expected"), [("好", True), ("か", False), ("ab ", True), ("ab", False), ("`", False)]
)
def test_end_is_safe_only_if_nothing_can_change_it(text: str, expected: bool) -> None:
    """Kana may get a voiced mark, a word more letters."""
    assert scan(text)[0].end_is_safe is expected


def test_settle_believes_words_but_not_numbers() -> None:
    """Silence ends "word." but neither "19." nor, at first, "word."."""
    for text, even_words, is_found in (
        ("word.", False, False), ("word.", True, True), ("19.", True, False), ("a.b!", True, False),
        ("Dr.", True, False), ("No. ", True, True), ("No. ", False, False),
    ):  # fmt: skip
        scanner, _ = scan(text)
        assert scanner.may_settle() is (is_found or not even_words)
        assert (scanner.settle(even_words=even_words) is not None) is is_found


def test_finish_here_reports_the_pause_and_forgets_what_is_open() -> None:
    """After a forced cut, quotes and runs of the old sentence guard nothing."""
    scanner, _ = scan("“好")
    assert scanner.finish_here() == 0
    for ch in "天。":
        scanner.push(ch)
    assert scanner.is_immediate
    assert scanner.finish_here() == 300
