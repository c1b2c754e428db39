"""The serving path from tokens to samples against upstream's golden waveforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.backends.torch_acoustic import TorchAcoustic
from engine.types import FloatArray, Language, Phonemes, StreamMode, SynthesisParams, Word
from engine.vocoding import VocoderStream
from tests.golden_acoustic import VERSIONS, Golden, load
from tests.numerics import END_TO_END, assert_close

pytestmark = pytest.mark.parity
torch.set_num_threads(1)


def speak(golden: Golden, noise: FloatArray, steps: list[int], *, speed: float) -> FloatArray:
    """Vocode the golden tokens in exact mode, `steps` tokens at a time, with golden noise."""
    ids = golden["text"][0].numpy()
    word = Word("x", Language.EN, len(ids), 0, 1)
    stream = VocoderStream(
        TorchAcoustic(golden.network),
        Phonemes(ids, ("x",) * len(ids), (word,), "x"),
        golden["ge"].numpy().ravel(),
        sentence_index=0,
        params=SynthesisParams(speed=speed, mode=StreamMode.EXACT),
    )
    with pytest.MonkeyPatch.context() as patch:

        def recorded(
            seed: int, sentence: int, first: int, frames: int, channels: int
        ) -> FloatArray:
            return noise[:, first : first + frames]

        patch.setattr("engine.vocoding.normal", recorded)
        tokens = golden["codes"][0, 0].numpy()
        return np.concatenate([stream.step(tokens, n, final=True).samples for n in steps])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("chunks", [1, 3])
def test_exact_mode_gives_the_golden_wave(fixtures_dir: Path, version: str, chunks: int) -> None:
    """In one piece and in chunks, frozen statistics and halos included."""
    golden = load(fixtures_dir, version)
    sizes = [len(part) for part in np.array_split(np.arange(golden["codes"].shape[2]), chunks)]
    wave = speak(golden, golden["noise"][0].numpy(), sizes, speed=1.0)
    assert_close(wave, golden["wav"], END_TO_END, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_faster_speech_gives_the_golden_wave(fixtures_dir: Path, version: str) -> None:
    """Speed 1.25 stretches the statistics to upstream's length and values."""
    golden = load(fixtures_dir, version)
    size = golden["codes"].shape[2]
    wave = speak(golden, golden["noise_speed"][0].numpy(), [size], speed=1.25)
    assert_close(wave[::4], golden["speed_wav_every4"], END_TO_END, version)
