"""A probe that tells phonemes, and what the acoustic stage hears through it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.errors import CheckpointError, InvalidParameter
from engine.models.quantizer import Quantizer
from engine.models.whisper import WhisperEncoder
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.batches import Corpus
from engine.train.listener import Listener
from engine.train.loop import LoopSettings
from engine.train.phoneme_probe import PhonemeProbe, ProbeSettings, ProbeStage
from tests.engine.train.conftest import CONFIG

LOOP = LoopSettings(steps=60, learning_rate=1e-3, final_rate=1e-3, warmup_steps=1)
SMALL = ProbeSettings(batch_size=4, window=10, hidden=16, autocast=False)
ENCODER = {"mel_bins": 40, "dim": 16, "num_heads": 2, "num_layers": 1, "max_frames": 100}


def test_it_tells_the_phonemes_of_recordings(corpus: Corpus) -> None:
    """From features it has not been trained on token by token, after a few steps."""
    stage = ProbeStage(CONFIG, SMALL, LOOP, corpus)
    for group in stage.optimizers["probe"].param_groups:
        group["lr"] = 5e-3
    figures = [stage.step(step) for step in range(60)]
    assert figures[0]["right"] < 0.5
    assert min(f["right"] for f in figures[-5:]) > 0.9


def test_recordings_without_an_alignment_are_refused(corpus: Corpus) -> None:
    """There would be nothing to learn from."""
    bare = Corpus([replace(item, place=None) for item in corpus.items])
    with pytest.raises(CheckpointError, match="alignment"):
        ProbeStage(CONFIG, SMALL, LOOP, bare)


class _Bright(PhonemeProbe):
    """Hears phoneme 1 where the second half of the channels is larger, else phoneme 0."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        low, high = features.unflatten(2, (-1, 2)).mean(dim=3).chunk(2, dim=1)
        difference = high.mean(dim=1) - low.mean(dim=1)
        return torch.stack((-difference, difference), dim=1) * 20


def _listener() -> Listener:
    torch.manual_seed(0)
    return Listener(WhisperEncoder(ENCODER), Quantizer(CONFIG), 24000, _Bright())


def test_the_wrong_phoneme_costs_more() -> None:
    """What is heard in the recording is half of the target; beyond the end nothing counts."""
    listener = _listener()
    waves = 0.1 * torch.randn(2, 24000, generator=torch.Generator().manual_seed(1))
    heard = _Bright()(listener.encoder(listener.mel(waves))).argmax(dim=1)
    everywhere = torch.ones(heard.shape)
    right = listener(waves, waves, heard, everywhere)
    wrong = listener(waves, waves, 1 - heard, everywhere)
    unknown = listener(waves, waves, torch.full_like(heard, -1), everywhere)
    assert right["speech"] == wrong["speech"] == 0
    assert unknown["phoneme"] == pytest.approx(float(right["phoneme"]), abs=0.2)
    assert wrong["phoneme"] > right["phoneme"] + 0.3
    nowhere = torch.zeros_like(everywhere)
    nowhere[:, 3] = 1
    mixed = torch.where(nowhere > 0, heard, 1 - heard)
    assert listener(waves, waves, mixed, nowhere)["phoneme"] < wrong["phoneme"]


def test_the_acoustic_stage_asks_for_the_phonemes_of_its_slice(corpus: Corpus) -> None:
    """Slices begin where tokens do, and what is told of them is what is spoken in them."""
    asked: list[tuple[Tensor, Tensor, Tensor]] = []

    class Listening(Listener):
        def forward(
            self, made: Tensor, real: Tensor, phonemes: Tensor, mask: Tensor
        ) -> dict[str, Tensor]:
            asked.append((real, phonemes, mask))
            return super().forward(made, real, phonemes, mask)

    settings = AcousticSettings(
        batch_size=3, max_frames=32, slice_frames=10, reference_frames=16, prior_share=1.0,
        unit_weight=0.0, speech_weight=1.0, phoneme_weight=1.0, autocast=False,
    )  # fmt: skip
    torch.manual_seed(0)
    probe = PhonemeProbe(CONFIG.ssl_dim, 8, CONFIG.num_phonemes, 0.1)
    listener = Listening(WhisperEncoder(ENCODER), Quantizer(CONFIG), 24000, probe)
    stage = AcousticStage(CONFIG, settings, LOOP, corpus, None, listener)
    assert all("prior_phoneme" in stage.step(step) for step in range(4))
    spoken = {}
    for item in corpus.items:
        assert item.place is not None
        for token, place in enumerate(item.place):
            start = 2 * token * CONFIG.hop
            samples = item.features.wave[start : start + 8].tobytes()
            spoken.setdefault(samples, set()).add(int(item.features.phoneme_ids[place]))
    for real, phonemes, mask in asked:
        assert phonemes.shape == mask.shape == (3, 5) and mask.all()
        tokens = real.reshape(3, 5, -1)[:, :, :8]
        for row, told in zip(tokens.flatten(0, 1), phonemes.flatten().tolist(), strict=True):
            samples = (row * 32767).round().to(torch.int16).numpy().tobytes()
            assert told in spoken[samples]


def test_a_weight_without_a_probe_is_refused(corpus: Corpus) -> None:
    """Half a configuration is an error that names the setting."""
    listener = Listener(WhisperEncoder(ENCODER), Quantizer(CONFIG), 24000)
    settings = AcousticSettings(speech_weight=1.0, phoneme_weight=1.0)
    with pytest.raises(InvalidParameter, match="phoneme_weight"):
        AcousticStage(CONFIG, settings, LOOP, corpus, None, listener)
