"""Timing messages: what is certain, once, in order."""

from __future__ import annotations

import numpy as np
import pytest

from engine.types import AudioChunk, Language, Phonemes, Sentence, Word
from server.messages import TimingEvent
from server.settings import Timing
from server.timings import TimingTrack, loudness_db
from server.transcript import Transcript

ALL: tuple[Timing, ...] = ("char", "word", "phoneme", "viseme", "rms")


def track(
    wanted: tuple[Timing, ...], aligned: bool = True
) -> tuple[list[TimingEvent | None], TimingTrack]:
    """Speak "15 hi!" in two chunks; the number is two words of one source."""
    words = (
        Word("shi", Language.ZH, 2, 0, 2),
        Word("wu", Language.ZH, 1, 0, 2),
        Word("hi", Language.EN, 2, 3, 5),
        Word("!", Language.EN, 1, 5, 6),
    )
    symbols = ("sh", "ir2", "u3", "HH", "AY1", "!")
    phonemes = Phonemes(np.arange(1, 7), symbols, words, "shiwu hi!")
    sentence = Sentence(1, "15 hi!", 10, 16, pause_ms=20)
    times = Transcript().begin(sentence, phonemes, 4800)
    made = TimingTrack("c", times, wanted)
    events = []
    for tokens, ms, is_final in (([0, 1, 2, 3], 160, False), ([3, 4, 5], 140, True)):
        alignment = np.array(tokens) if aligned else None
        samples = np.full(ms * 32, 0.1, np.float32)
        chunk = AudioChunk(1, 1, samples, 32000, is_final, len(tokens), alignment)
        times.add(chunk)
        events.append(made.advance(chunk))
    return events, made


def test_each_chunk_reports_what_it_speaks() -> None:
    """Offsets into the context's text, milliseconds of the context; words of one source are one."""
    (first, second), _ = track(ALL)
    assert first is not None and second is not None
    assert (first.ctx, first.seg, first.pts, second.pts) == ("c", 1, 4800, 4800 + 160 * 48)
    assert first.words == ((10, 12, 100, 220),)
    assert first.chars == ((10, 11, 100, 160), (11, 12, 160, 220))
    assert second.words == ((13, 15, 220, 340), (15, 16, 340, 380))
    assert first.phonemes == (
        ("sh", 10, 12, 100, 140),
        ("ir2", 10, 12, 140, 180),
        ("u3", 10, 12, 180, 220),
    )
    assert second.phonemes is not None
    assert [row[0] for row in second.phonemes] == ["HH", "AY1", "!"]
    assert first.visemes == (("CH", 100), ("ih", 140), ("ou", 180))
    assert second.visemes == (("kk", 220), ("aa", 300), ("sil", 340))
    assert first.rms == (-20,) * 8 and second.rms == (-20,) * 7


def test_without_an_alignment_all_comes_with_the_last_chunk() -> None:
    """Nothing that would change is said."""
    (first, second), _ = track(("word", "phoneme"), aligned=False)
    assert first is None
    assert second is not None and second.words is not None and second.phonemes is not None
    assert [row[:2] for row in second.words] == [(10, 12), (13, 15), (15, 16)]
    assert len(second.phonemes) == 6
    assert second.visemes is None and second.rms is None


def test_nothing_wanted_nothing_made() -> None:
    """The default costs nothing."""
    assert track(())[0] == [None, None]


def test_the_mouth_closes_at_the_end() -> None:
    """Also when the last phoneme was reported before."""
    phonemes = Phonemes(np.array([1]), ("a1",), (Word("a", Language.ZH, 1, 0, 1),), "a")
    times = Transcript().begin(Sentence(0, "a", 0, 1), phonemes, 0)
    made = TimingTrack("c", times, ("viseme",))
    reported = []
    for tokens, is_final in (([0, 0], False), ([0], True)):
        samples = np.zeros(1280 * len(tokens), np.float32)
        chunk = AudioChunk(1, 0, samples, 32000, is_final, len(tokens), np.array(tokens))
        times.add(chunk)
        reported.append(made.advance(chunk))
    assert reported[0] is None
    assert reported[1] is not None and reported[1].visemes == (("aa", 0), ("sil", 120))


@pytest.mark.parametrize(
    ("level", "expected"), [(1.0, 0), (0.5, -6), (0.001, -60), (0.0, -96), (3.0, 0)]
)
def test_loudness_is_whole_dbfs(level: float, expected: int) -> None:
    """Clipped to a signed byte's useful part."""
    assert loudness_db(np.full((2, 640), level, np.float32)) == (expected, expected)
    assert loudness_db(np.zeros((0, 640), np.float32)) == ()
