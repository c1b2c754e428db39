"""Timings of a context as runs of all its characters, spaces and marks included."""

from __future__ import annotations

from dataclasses import dataclass

from server.context import Context
from server.frames import CLOCK_PER_MS
from server.messages import SegmentDone, SegmentStarted, TimingEvent


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive characters; times are milliseconds from where `Aligner` counts from."""

    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]


class Aligner:
    """Makes runs that follow each other without a gap, in characters and in time.

    A client that adds up the durations of what it was sent stays in step with the audio: the first
    character between two spoken ones lasts as long as the pause.
    """

    def __init__(self, context: Context, *, is_relative: bool) -> None:
        """Prepare.

        Args:
            is_relative: Times count from the beginning of each run, else of the context.
        """
        self._context = context
        self._is_relative = is_relative
        self._at = 0  # characters given out
        self._ms = 0
        self._segment_end = 0
        self._rows: list[tuple[str, int, int]] = []  # character, begin, end
        self._base_ms = 0

    def note(self, event: object) -> None:
        """Take an event of the context; those about other things say nothing."""
        match event:
            case SegmentStarted():
                self._segment_end = event.end
            case TimingEvent() if event.chars:
                for start, end, begins, ends in event.chars:
                    self._fill(start, begins)
                    self._add(end, ends)
            case SegmentDone():
                self._fill(self._segment_end, event.pts_end // CLOCK_PER_MS)

    def take(self) -> Run | None:
        """Return what was noted since the last call, None if that is nothing."""
        if not self._rows:
            return None
        rows, self._rows = self._rows, []
        offset = self._base_ms if self._is_relative else 0
        run = Run(
            tuple(char for char, _, _ in rows),
            tuple(begins - offset for _, begins, _ in rows),
            tuple(ends - begins for _, begins, ends in rows),
        )
        self._base_ms = self._ms
        return run

    def _fill(self, until: int, ms: int) -> None:
        """Give characters that are not spoken the time up to `ms`, the first of them all of it."""
        if until > self._at:
            self._add(self._at + 1, ms)
            self._add(until, ms)

    def _add(self, end: int, ends_ms: int) -> None:
        """Add characters up to `end`; the first of them lasts until `ends_ms`."""
        for char in self._context.text[self._at : end]:
            ends = max(self._ms, ends_ms)
            self._rows.append((char, self._ms, ends))
            self._ms = ends
        self._at = max(self._at, end)
