"""Which characters have sounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.types import AudioChunk, Language, Phonemes, Sentence, Word
from server.transcript import Span, Transcript

MS = 48  # samples at 48 kHz


def phonemes(*words: tuple[str, int]) -> Phonemes:
    """Return phonemes of words with so many each."""
    made, start, count = [], 0, 0
    for text, number in words:
        made.append(Word(text, Language.EN, number, start, start + len(text)))
        start, count = start + len(text), count + number
    text = "".join(text for text, _ in words)
    return Phonemes(np.zeros(count, np.int64), ("p",) * count, tuple(made), text)


def chunk(ms: int, tokens: list[int] | None, *, is_final: bool) -> AudioChunk:
    """Return a chunk of so many milliseconds whose tokens speak these phonemes."""
    alignment = None if tokens is None else np.array(tokens, np.int64)
    samples = np.zeros(ms * 32, np.float32)
    return AudioChunk(1, 0, samples, 32000, is_final, len(tokens or []), alignment)


def sentence(index: int, text: str, start: int, pause_ms: int = 0) -> Sentence:
    """Return the sentence at `start`."""
    return Sentence(index, text, start, start + len(text), pause_ms)


def test_words_follow_the_alignment() -> None:
    """The end of a word is the end of its last token; the pause belongs to nobody."""
    transcript = Transcript()
    transcript.append("ab cd")
    times = transcript.begin(
        sentence(0, "ab cd", 0, pause_ms=100), phonemes(("ab", 2), (" cd", 2)), 0
    )
    times.add(chunk(160, [0, 0, 1, 1], is_final=False))
    times.add(chunk(180, [2, 3], is_final=True))
    assert times.words() == [Span(0, 2, 0, 160 * MS), Span(2, 5, 160 * MS, 240 * MS)]
    assert times.pts_end == 340 * MS
    assert transcript.split_at(159 * MS) == ("", "ab cd")
    assert transcript.split_at(160 * MS) == ("ab", " cd")
    assert transcript.split_at(340 * MS) == ("ab cd", "")


def test_silence_left_out_moves_what_follows_and_not_its_length() -> None:
    """A phoneme of trimmed tokens has no time; one that is half trimmed has what is left."""
    times = Transcript().begin(sentence(0, "ab", 0, pause_ms=20), phonemes(("a", 2), ("b", 2)), 480)
    first = replace(chunk(60, [0, 1, 2], is_final=False), num_trimmed=60 * 32)
    times.add(first)
    times.add(chunk(60, [3], is_final=True))
    ends = [span.ends - 480 for _, span in times.phoneme_spans()]
    assert ends == [0, 20 * MS, 60 * MS, 100 * MS]
    assert (times.num_tokens, times.pts_end - 480) == (4, 120 * MS)


def test_a_phoneme_without_a_token_ends_with_the_one_before() -> None:
    """Monotone alignments may skip."""
    times = Transcript().begin(sentence(0, "abc", 0), phonemes(("a", 1), ("b", 1), ("c", 1)), 0)
    times.add(chunk(80, [0, 2], is_final=True))
    assert [span.ends for span in times.words()] == [40 * MS, 40 * MS, 80 * MS]


def test_words_that_are_not_made_yet_have_not_sounded() -> None:
    """What is expected later ends later, by the usual pace."""
    times = Transcript().begin(sentence(0, "ab", 0), phonemes(("a", 1), ("b", 1)), 0)
    times.add(chunk(40, [0], is_final=False))
    assert [span.ends for span in times.words()] == [40 * MS, 140 * MS]


@pytest.mark.parametrize(("is_final", "ends"), [(True, [100, 200]), (False, [100, 200])])
def test_without_an_alignment_phonemes_share_the_time(is_final: bool, ends: list[int]) -> None:
    """Evenly over what was made, or over the usual length when that is longer."""
    times = Transcript().begin(sentence(0, "ab", 0), phonemes(("a", 1), ("b", 1)), 0)
    times.add(chunk(200 if is_final else 50, None, is_final=is_final))
    assert [span.ends for span in times.words()] == [end * MS for end in ends]


def test_offsets_are_those_of_the_whole_text() -> None:
    """The second sentence counts from its own start; a padding word has no characters."""
    transcript = Transcript()
    transcript.append("ab.")
    transcript.append("cd")
    first = transcript.begin(sentence(0, "ab.", 0), phonemes(("ab.", 1)), 0)
    first.add(chunk(100, [0], is_final=True))
    second = transcript.begin(sentence(1, "cd", 3), phonemes(("", 1), ("cd", 1)), first.pts_end)
    second.add(chunk(80, [0, 1], is_final=True))
    assert second.words() == [Span(3, 5, 140 * MS, 180 * MS)]
    assert transcript.split_at(150 * MS) == ("ab.", "cd")
    assert transcript.split_at(180 * MS) == ("ab.cd", "")
