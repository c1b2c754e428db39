from __future__ import annotations

from engine.text.ja.align import spans
from engine.text.ja.openjtalk import Morph


def test_words_are_found_as_written() -> None:
    """Full-width letters and digits are the half-width ones."""
    found = spans("東京のAIは３個", [Morph(s, 1) for s in ("東京", "の", "ＡＩ", "は", "３", "個")])
    assert found == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7), (7, 8)]


def test_respelled_numbers_share_their_digits() -> None:
    """20日 comes back as other characters; what follows is found again."""
    found = spans("２４個の山", [Morph(s, 1) for s in ("二", "十", "四", "個", "の", "山")])
    assert found == [(0, 2), (0, 2), (0, 2), (2, 3), (3, 4), (4, 5)]


def test_nothing_is_skipped_without_a_reason() -> None:
    """A later occurrence of a character is not taken for this one."""
    assert spans("あいう", [Morph("う", 1), Morph("い", 1)]) == [(0, 1), (1, 2)]
