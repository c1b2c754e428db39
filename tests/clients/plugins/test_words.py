"""Pieces of text with their times."""

from __future__ import annotations

from clients.events import SegmentDone, SegmentStarted, Timing
from clients.plugins.words import TimedText, TimedWords


def test_pieces_make_up_the_whole_text() -> None:
    """Marks and spaces go with the word before them; what stands first with the first word."""
    words = TimedWords()
    words.begin(SegmentStarted("c", 0, "“Hi, you”! ", 0, 0, 11))
    pieces = list(words.add(Timing("c", 0, 0, words=[[1, 3, 100, 300]])))
    assert pieces == []  # how far it reaches is not known yet
    pieces += words.add(Timing("c", 0, 0, words=[[5, 8, 300, 600]]))
    pieces += words.end(SegmentDone("c", 0, 48000))
    words.begin(SegmentStarted("c", 1, "好。", 48000, 11, 13))
    pieces += words.add(Timing("c", 1, 0, words=[[11, 12, 1000, 1200]]))
    pieces += words.end(SegmentDone("c", 1, 96000))
    assert pieces == [
        TimedText("“Hi, ", 0.1, 0.3),
        TimedText("you”! ", 0.3, 0.6),
        TimedText("好。", 1.0, 1.2),
    ]


def test_a_sentence_without_times_is_one_piece() -> None:
    """From its start to its end."""
    words = TimedWords()
    words.begin(SegmentStarted("c", 0, "One. ", 4800, 0, 5))
    assert list(words.end(SegmentDone("c", 0, 48000))) == [TimedText("One. ", 0.1, 1.0)]
    assert list(words.end(SegmentDone("c", 7, 48000))) == []
