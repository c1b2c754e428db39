"""Streamed and whole resampling agree to the bit and keep exact lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audio.resample import StreamResampler, resample, resampled_length
from engine.errors import InvalidParameter
from tests.speechlike import noise

RATES = [48000, 24000, 16000, 8000, 44100]


@pytest.mark.parametrize("out_hz", RATES)
@given(
    cuts=st.lists(st.integers(0, 5000), max_size=12),
    rest=st.integers(0, 3000),
)
@settings(max_examples=15)
def test_cutting_changes_nothing(out_hz: int, cuts: list[int], rest: int) -> None:
    """Any cut of a stream gives the same samples, and round(N * out / in) of them."""
    wave = noise((sum(cuts) + rest) / 32000)
    whole = StreamResampler(32000, out_hz).process(wave, final=True)
    stream = StreamResampler(32000, out_hz)
    pieces, position = [], 0
    for cut in cuts:
        pieces.append(stream.process(wave[position : position + cut]))
        position += cut
    pieces.append(stream.process(wave[position:], final=True))
    joined = np.concatenate(pieces)
    assert len(joined) == round(len(wave) * out_hz / 32000 + 1e-9) == len(whole)
    np.testing.assert_array_equal(joined, whole)


def test_final_piece_may_be_empty() -> None:
    """Ending without more samples gives what was held back."""
    wave = noise(0.5)
    stream = StreamResampler(32000, 48000)
    first = stream.process(wave)
    rest = stream.process(wave[:0], final=True)
    whole = StreamResampler(32000, 48000).process(wave, final=True)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)


def test_resampler_starts_anew_after_the_end() -> None:
    """A second stream hears nothing of the first."""
    stream = StreamResampler(32000, 16000)
    wave = noise(0.2)
    first = stream.process(wave, final=True)
    np.testing.assert_array_equal(stream.process(wave, final=True), first)


def test_empty_stream_is_empty() -> None:
    """No samples in, none out."""
    assert len(StreamResampler(32000, 48000).process(np.zeros(0, np.float32), final=True)) == 0


def test_equal_rates_pass_through() -> None:
    """Nothing is filtered when nothing changes."""
    wave = noise(0.1)
    np.testing.assert_array_equal(resample(wave, 32000, 32000), wave)


@pytest.mark.parametrize("out_hz", RATES)
def test_tone_keeps_frequency_level_and_time(out_hz: int) -> None:
    """A 1 kHz tone stays where it is, whole and streamed: no delay, no gain."""
    t_in, t_out = np.arange(32000) / 32000, np.arange(out_hz) / out_hz
    tone = np.sin(2 * np.pi * 1000 * t_in).astype(np.float32)
    expected = np.sin(2 * np.pi * 1000 * t_out)
    middle = slice(out_hz // 10, -out_hz // 10)
    for out in (
        resample(tone, 32000, out_hz),
        StreamResampler(32000, out_hz).process(tone, final=True),
    ):
        assert np.abs(out[middle] - expected[middle]).max() < 1e-4


@pytest.mark.parametrize("out_hz", [24000, 16000, 8000])
def test_what_the_lower_rate_cannot_hold_is_gone(out_hz: int) -> None:
    """A tone above the new Nyquist leaves at most -80 dB; one at 80 % of it stays whole."""
    t_in = np.arange(32000) / 32000
    middle = slice(out_hz // 10, -out_hz // 10)
    above = np.sin(2 * np.pi * 0.55 * out_hz * t_in).astype(np.float32)
    assert np.abs(StreamResampler(32000, out_hz).process(above, final=True)[middle]).max() < 1e-4
    below = np.sin(2 * np.pi * 0.4 * out_hz * t_in).astype(np.float32)
    kept = StreamResampler(32000, out_hz).process(below, final=True)[middle]
    assert np.sqrt(2 * np.mean(kept**2)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("out_hz", RATES)
def test_a_stream_waits_for_a_few_milliseconds_at_most(out_hz: int) -> None:
    """After one 20 ms piece all but the filter's half is out: 5 ms at the worst."""
    stream = StreamResampler(32000, out_hz)
    ready = len(stream.process(np.zeros(640, np.float32))) / out_hz
    assert stream.delay_s <= 0.005
    assert 0.020 - ready <= stream.delay_s + 1 / out_hz


def test_lengths_round_half_up_exactly() -> None:
    """Lengths are exact integers, also where floating point is not."""
    assert resampled_length(1, 32000, 16000) == 1
    assert resampled_length(640, 32000, 48000) == 960
    assert resampled_length(10**15 + 1, 32000, 48000) == (3 * (10**15 + 1) + 1) // 2


@pytest.mark.parametrize("rate", [0, -1, 3999, 10**6, 44100.0])
def test_bad_rates_are_named(rate: int) -> None:
    """A rate out of range is a typed error."""
    with pytest.raises(InvalidParameter, match="out_hz"):
        StreamResampler(32000, rate)
