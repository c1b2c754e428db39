"""The mel fronts against independent implementations in `transformers`."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.mel import ge2e_mel, whisper_mel
from engine.errors import InvalidParameter

audio_utils = pytest.importorskip("transformers.audio_utils")


def wave(num_samples: int) -> np.ndarray:
    """Noise that fades, so that Whisper's floor of 80 dB is reached."""
    noise = np.random.default_rng(1).normal(size=num_samples)
    return (noise * np.exp(-np.arange(num_samples) / 1500)).astype(np.float32)


def filters(num_filters: int) -> np.ndarray:
    result: np.ndarray = audio_utils.mel_filter_bank(
        201, num_filters, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney"
    )
    return result


def spectrogram(samples: np.ndarray, num_filters: int, **settings: object) -> np.ndarray:
    window = audio_utils.window_function(400, "hann")
    result: np.ndarray = audio_utils.spectrogram(
        samples, window, 400, 160, power=2.0, mel_filters=filters(num_filters), **settings
    )
    return result


def test_whisper_mel() -> None:
    """Log power, floor 80 dB below the maximum, scaled: as the public feature extractor."""
    samples = wave(24000)
    power = spectrogram(samples, 80, pad_mode="reflect", mel_floor=1e-10, log_mel="log10")[:, :-1]
    expected = (np.maximum(power, power.max() - 8.0) + 4.0) / 4.0
    assert (power < power.max() - 8.0).any(), "the test wave must reach the floor"
    actual = whisper_mel(samples)
    assert actual.shape == (80, 150)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_ge2e_mel() -> None:
    """Plain mel power with zeros beyond the ends."""
    samples = wave(24000)
    expected = spectrogram(samples, 40, pad_mode="constant", mel_floor=0.0).T
    actual = ge2e_mel(samples)
    assert actual.shape == (151, 40)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)


def test_a_wave_too_short_is_refused() -> None:
    """The message says how many samples are needed."""
    with pytest.raises(InvalidParameter, match=r"> 200 samples"):
        whisper_mel(np.zeros(200, dtype=np.float32))
