"""`timing` messages: when characters, words, phonemes and mouth shapes of a sentence sound.

Sent chunk by chunk, each with what is certain by then: with the engine's alignment that is what the
chunk speaks, without one it is everything, at the sentence's last chunk. Times are milliseconds
from the start of the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from engine.types import AudioChunk, FloatArray
from server.frames import CLOCK_HZ, CLOCK_PER_MS
from server.messages import TimingEvent
from server.settings import Timing
from server.transcript import SentenceTimes, Span
from server.visemes import SILENCE, viseme

_RMS_WINDOW_S = 0.02
_MIN_DB, _MAX_DB = -96, 0
_T = TypeVar("_T")


class TimingTrack:
    """Makes the timing messages of one sentence."""

    def __init__(self, ctx: str, times: SentenceTimes, wanted: Sequence[Timing]) -> None:
        self._ctx = ctx
        self._times = times
        self._wanted = frozenset(wanted)
        self._num_words = 0  # reported
        self._num_phonemes = 0
        self._last_viseme = ""
        self._rest = np.zeros(0, np.float32)  # of the last chunk, less than an rms window
        self._rms_pts = times.pts  # where the next rms window begins

    def advance(self, chunk: AudioChunk) -> TimingEvent | None:
        """Return what is certain since the last call, None if that is nothing.

        Args:
            chunk: The one `times` took last.
        """
        if not self._wanted:
            return None
        times, pts = self._times, self._rms_pts
        rms = self._rms(chunk) if "rms" in self._wanted else None
        words, phonemes = self._new_words(), self._new_phonemes()
        event = TimingEvent(
            ctx=self._ctx,
            seg=times.sentence.index,
            pts=pts,
            chars=self._if_wanted("char", _rows(_chars(words))),
            words=self._if_wanted("word", _rows(words)),
            phonemes=self._if_wanted("phoneme", self._phoneme_rows(phonemes)),
            visemes=self._if_wanted("viseme", self._visemes(phonemes)),
            rms=rms,
        )
        rows = (event.chars, event.words, event.phonemes, event.visemes, event.rms)
        return event if any(rows) else None

    def _if_wanted(self, name: Timing, rows: tuple[_T, ...]) -> tuple[_T, ...] | None:
        return rows if rows and name in self._wanted else None

    def _new_words(self) -> list[Span]:
        new = self._certain([(span, span.ends) for span in self._times.words()], self._num_words)
        self._num_words += len(new)
        return new

    def _new_phonemes(self) -> list[tuple[str, Span]]:
        spans = self._times.phoneme_spans()
        new = self._certain([(item, item[1].ends) for item in spans], self._num_phonemes)
        self._num_phonemes += len(new)
        return new

    def _certain(self, items: list[tuple[_T, int]], reported: int) -> list[_T]:
        """Return the items that end in audio that was made, without those reported."""
        if self._times.is_complete:
            return [item for item, _ in items[reported:]]
        if not self._times.is_aligned:
            return []
        made = self._times.pts_end
        # The last phoneme made may go on in the next chunk.
        return [item for item, ends in items[reported:] if ends < made]

    @staticmethod
    def _phoneme_rows(
        phonemes: list[tuple[str, Span]],
    ) -> tuple[tuple[str, int, int, int, int], ...]:
        return tuple((symbol, s.start, s.end, _ms(s.begins), _ms(s.ends)) for symbol, s in phonemes)

    def _visemes(self, phonemes: list[tuple[str, Span]]) -> tuple[tuple[str, int], ...]:
        """Return the changes of shape; the sentence's end closes the mouth."""
        changes = []
        for symbol, span in phonemes:
            shape = viseme(symbol)
            if shape != self._last_viseme and span.ends > span.begins:
                changes.append((shape, _ms(span.begins)))
                self._last_viseme = shape
        if self._times.is_complete and self._last_viseme not in ("", SILENCE):
            changes.append((SILENCE, _ms(phonemes[-1][1].ends) if phonemes else self._end_ms()))
            self._last_viseme = SILENCE
        return tuple(changes)

    def _end_ms(self) -> int:
        return _ms(self._times.pts_end)

    def _rms(self, chunk: AudioChunk) -> tuple[int, ...]:
        window = round(chunk.sample_rate_hz * _RMS_WINDOW_S)
        samples = np.concatenate([self._rest, chunk.samples])
        if chunk.is_final:
            samples = np.pad(samples, (0, -len(samples) % window))
        count = len(samples) // window
        self._rest = samples[count * window :]
        self._rms_pts += count * round(CLOCK_HZ * _RMS_WINDOW_S)
        return loudness_db(samples[: count * window].reshape(count, window))


def loudness_db(windows: FloatArray) -> tuple[int, ...]:
    """Return the RMS of float32 [W, N] in dBFS, whole numbers from -96 to 0."""
    power = np.square(windows, dtype=np.float64).mean(axis=1) if windows.size else np.zeros(0)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    return tuple(int(v) for v in np.clip(np.rint(level), _MIN_DB, _MAX_DB))


def _ms(samples48: int) -> int:
    return samples48 // CLOCK_PER_MS


def _rows(spans: Sequence[Span]) -> tuple[tuple[int, int, int, int], ...]:
    return tuple((s.start, s.end, _ms(s.begins), _ms(s.ends)) for s in spans)


def _chars(words: Sequence[Span]) -> list[Span]:
    """Share each word's time evenly among its characters."""
    chars = []
    for word in words:
        count, length = word.end - word.start, word.ends - word.begins
        for i in range(count):
            begins = word.begins + length * i // count
            ends = word.begins + length * (i + 1) // count
            chars.append(Span(word.start + i, word.start + i + 1, begins, ends))
    return chars
