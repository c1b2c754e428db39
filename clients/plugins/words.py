"""Timed words of one context, with the spaces and marks that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clients.events import CLOCK_HZ, SegmentDone, SegmentStarted, Timing


@dataclass(frozen=True, slots=True)
class TimedText:
    """A piece of the text as it was sent; times are seconds from the start of the context."""

    text: str
    start_s: float
    end_s: float


class TimedWords:
    """Joins what the server says of a context's words to pieces that make up its whole text.

    A piece is a word and what follows it, up to the next word. A sentence of which no word has a
    time is one piece.
    """

    def __init__(self) -> None:
        self._text: list[str] = []  # characters of the sentences so far
        self._sentences: dict[int, SegmentStarted] = {}
        self._at = 0  # told up to here
        self._pending: TimedText | None = None  # its end is known when the next word is

    def begin(self, segment: SegmentStarted) -> None:
        """Take the start of a sentence."""
        self._sentences[segment.seg] = segment
        missing = segment.start - len(self._text)
        self._text[len(self._text) :] = [*" " * max(0, missing), *segment.text]

    def add(self, timing: Timing) -> Iterator[TimedText]:
        """Take times; yield the pieces that are complete by them."""
        for start, _, begins_ms, ends_ms in timing.words:
            yield from self._finish(start)
            self._pending = TimedText("", begins_ms / 1000, ends_ms / 1000)

    def end(self, segment: SegmentDone) -> Iterator[TimedText]:
        """Take the end of a sentence; yield the rest of it."""
        sentence = self._sentences.pop(segment.seg, None)
        if sentence is None:
            return
        if self._pending is None and self._at <= sentence.start:
            times = (sentence.pts / CLOCK_HZ, segment.pts_end / CLOCK_HZ)
            self._pending = TimedText("", *times)
        yield from self._finish(sentence.end)

    def _finish(self, until: int) -> Iterator[TimedText]:
        """Yield the pending piece, which goes on to `until`."""
        if self._pending is None:
            return  # what comes before the first word goes with it
        text = "".join(self._text[self._at : until])
        pending, self._pending = self._pending, None
        self._at = max(self._at, until)
        if text:
            yield TimedText(text, pending.start_s, pending.end_s)
