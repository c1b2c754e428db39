"""The right stretch of a recording is taken, and the words that belong to it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.io import Recording
from engine.audio.reference_window import Clause, choose_window
from engine.errors import VoiceError
from engine.types import FloatArray
from tests.speechlike import silence, speechlike

RATE = 16000


def _phrases(*seconds: float, pause: float = 0.5) -> FloatArray:
    """Phrases of the given lengths with pauses between them."""
    pieces = [silence(0.2, RATE)]
    for i, length in enumerate(seconds):
        pieces += [speechlike(length, RATE, seed=i), silence(pause, RATE)]
    return np.concatenate(pieces)


def _clauses(*phonemes: int) -> list[Clause]:
    return [Clause(10 * i, 10 * i + 10, count) for i, count in enumerate(phonemes)]


def _seconds(wave: FloatArray, *clauses: int) -> tuple[float, float, int, int]:
    window = choose_window(Recording(wave, RATE), _clauses(*clauses))
    return window.start / RATE, window.end / RATE, window.first_clause, window.end_clause


def test_good_length_is_used_whole() -> None:
    """Between 3 and 10 s nothing is cut: upstream's features are ours."""
    wave = _phrases(2, 2)
    assert _seconds(wave, 20, 20) == (0, len(wave) / RATE, 0, 2)


def test_long_silence_at_the_ends_is_shortened() -> None:
    """Seconds of nothing before and after speech go, down to a quarter second."""
    wave = np.concatenate([silence(2, RATE), speechlike(4, RATE), silence(3, RATE)])
    start, end, _, _ = _seconds(wave)
    assert start == pytest.approx(1.75, abs=0.1)
    assert end == pytest.approx(6.25, abs=0.2)


def test_shortening_keeps_three_seconds() -> None:
    """A short phrase in silence keeps as much silence as a reference needs."""
    wave = np.concatenate([silence(1, RATE), speechlike(2, RATE), silence(1, RATE)])
    start, end, _, _ = _seconds(wave)
    assert end - start >= 3.0 - 1e-6


def test_long_recording_without_text_gives_its_densest_stretch() -> None:
    """Ten seconds with the most speech, cut in pauses."""
    wave = np.concatenate(
        [speechlike(1, RATE), silence(4, RATE), _phrases(3, 3, pause=0.4), silence(4, RATE)]
    )
    start, end, _, _ = _seconds(wave)
    assert start == pytest.approx(5.0, abs=0.5)
    assert end == pytest.approx(12.0, abs=0.5)


@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0, 1.0), (1.1, 0.95, 1.0, 1.05)])
def test_words_are_cut_with_the_audio(rates: tuple[float, ...]) -> None:
    """Clauses laid on pauses by their share of phonemes come out with their own audio."""
    lengths = (4.0, 5.0, 2.5, 5.5)
    wave = _phrases(*lengths)
    counts = [round(12 * s * r) for s, r in zip(lengths, rates, strict=True)]
    start, end, first, last = _seconds(wave, *counts)
    assert 3 <= end - start <= 10
    begins = np.concatenate([[0.2], 0.2 + np.cumsum(np.array(lengths) + 0.5)])
    assert start == pytest.approx(begins[first], abs=0.4)
    assert end == pytest.approx(begins[last] - 0.5, abs=0.4)


def test_words_that_do_not_fit_the_pauses_are_refused() -> None:
    """Better no voice than one whose prompt says other words than its text."""
    with pytest.raises(VoiceError, match="give the words of that part only") as caught:
        _seconds(_phrases(4, 5, 2.5, 5.5), 200, 10, 10)
    assert caught.value.code == "bad_reference"


def test_speech_without_any_pause_is_refused() -> None:
    """Cutting inside a word is nobody's wish."""
    with pytest.raises(VoiceError, match="cut one out"):
        _seconds(speechlike(20, RATE))


def test_silence_is_left_to_the_checks() -> None:
    """Nothing to choose from: the whole recording, which the checks then refuse."""
    assert _seconds(silence(20, RATE)) == (0, 20, 0, 0)
