"""Silence before a sentence is left out, the same however its samples come."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engine.leading_silence import DEFAULT_MS, THRESHOLD_DB, LeadingSilence, kept_ms
from engine.types import MAX_LEADING_SILENCE_MS, FloatArray, StreamMode, SynthesisParams

RATE_HZ = 32000
MS = RATE_HZ // 1000


def sentence(silence_ms: int, *, speech_ms: int = 300, level: float = 1e-4) -> FloatArray:
    """Return noise that is inaudible for `silence_ms` and loud after it."""
    noise = np.random.default_rng(silence_ms).uniform(-1, 1, (silence_ms + speech_ms) * MS)
    noise[: silence_ms * MS] *= level
    noise[silence_ms * MS :] *= 0.3
    return noise.astype(np.float32)


def pushed(samples: FloatArray, pieces: list[int], keep_ms: int) -> tuple[FloatArray, int]:
    """Return what leaves of samples that come in pieces, and how many were left out."""
    trim = LeadingSilence(RATE_HZ, keep_ms)
    cuts = [0, *np.cumsum(pieces).tolist()]
    assert cuts[-1] == len(samples)
    parts = [
        trim.push(samples[a:b], final=b == len(samples))
        for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    return np.concatenate(parts), trim.num_trimmed


@pytest.mark.parametrize(("silence_ms", "left_out_ms"), [(0, 0), (60, 0), (70, 10), (415, 350)])
def test_a_set_amount_stays(silence_ms: int, left_out_ms: int) -> None:
    """Whole windows of 10 ms beyond 60 ms go; not a sample of what stays is touched."""
    samples = sentence(silence_ms)
    heard, num_trimmed = pushed(samples, [len(samples)], 60)
    assert num_trimmed == left_out_ms * MS
    np.testing.assert_array_equal(heard, samples[num_trimmed:])


@pytest.mark.parametrize("silence_ms", [0, 30, 90, 455, 1370, 1990, 2000, 2300])
@pytest.mark.parametrize("keep_ms", [0, 60, 500])
def test_streamed_is_offline_to_the_bit(silence_ms: int, keep_ms: int) -> None:
    """However the samples are cut, the same ones leave."""
    samples = sentence(silence_ms)
    whole = pushed(samples, [len(samples)], keep_ms)
    dice = random.Random(5)
    for _ in range(5):
        pieces, rest = [], len(samples)
        while rest:
            pieces.append(min(rest, dice.choice([1, 7, 160, 320, 640, 1280, 6400, 40000])))
            rest -= pieces[-1]
        heard, num_trimmed = pushed(samples, pieces, keep_ms)
        np.testing.assert_array_equal(heard, whole[0])
        assert num_trimmed == whole[1] == len(samples) - len(heard)


def test_speech_leaves_with_the_piece_it_begins_in() -> None:
    """Nothing leaves before the onset, and nothing is held after it."""
    trim, samples = LeadingSilence(RATE_HZ, 20), sentence(100)
    assert len(trim.push(samples[: 90 * MS], final=False)) == 0
    assert not trim.has_begun and trim.num_trimmed == 70 * MS
    assert len(trim.push(samples[90 * MS : 150 * MS], final=False)) == 70 * MS
    assert trim.has_begun
    assert len(trim.push(samples[150 * MS : 151 * MS], final=False)) == MS


def test_a_silent_sentence_leaves_what_is_kept() -> None:
    """A sentence that never begins ends with the set amount of silence."""
    samples = sentence(500, speech_ms=0)
    heard, num_trimmed = pushed(samples, [1280] * 12 + [640], 60)
    assert (len(heard), num_trimmed) == (60 * MS, 440 * MS)


def test_a_whisper_is_not_swallowed() -> None:
    """After two seconds without an onset the rest passes as it is."""
    samples = sentence(5000, speech_ms=0)
    heard, num_trimmed = pushed(samples, [1280] * 125, 60)
    assert num_trimmed == (MAX_LEADING_SILENCE_MS - 60) * MS
    np.testing.assert_array_equal(heard, samples[num_trimmed:])


def test_the_threshold_is_between_a_breath_and_a_voice() -> None:
    """A tone just above it begins the sentence, one just below does not."""
    for offset_db, begins in ((1.0, True), (-1.0, False)):
        amplitude = 2**0.5 * 10 ** ((THRESHOLD_DB + offset_db) / 20)
        tone = amplitude * np.sin(np.arange(200 * MS) * (2 * np.pi * 400 / RATE_HZ))
        trim = LeadingSilence(RATE_HZ, 60)
        trim.push(tone.astype(np.float32), final=False)
        assert trim.has_begun is begins


def test_exact_mode_keeps_everything_unless_asked() -> None:
    """The offline result is the model's own."""
    assert kept_ms(SynthesisParams()) == kept_ms(SynthesisParams(mode=StreamMode.FAST))
    assert kept_ms(SynthesisParams()) == DEFAULT_MS
    assert kept_ms(SynthesisParams(mode=StreamMode.EXACT)) == MAX_LEADING_SILENCE_MS
    assert kept_ms(SynthesisParams(mode=StreamMode.EXACT, leading_silence_ms=0)) == 0
    samples = sentence(1800)
    np.testing.assert_array_equal(
        pushed(samples, [len(samples)], MAX_LEADING_SILENCE_MS)[0], samples
    )
