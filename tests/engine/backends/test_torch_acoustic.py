"""The torch backend's acoustic half: numpy in, numpy out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.backends.base import AcousticModel
from engine.backends.torch_acoustic import TorchAcoustic
from engine.errors import InvalidParameter
from engine.models.acoustic import init_random
from engine.types import FloatArray
from tests import tiny_acoustic
from tests.golden_acoustic import NOISE_SCALE, VERSIONS, load
from tests.numerics import END_TO_END, assert_close

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> TorchAcoustic:
    return TorchAcoustic(init_random(tiny_acoustic.NANO, 1))


@pytest.fixture
def style() -> FloatArray:
    return np.random.default_rng(0).normal(size=tiny_acoustic.NANO.gin_dim).astype(np.float32)


def test_it_is_an_acoustic_model(model: TorchAcoustic) -> None:
    """Attributes of the interface hold the network's own numbers."""
    interface: AcousticModel = model
    assert (interface.sample_rate_hz, interface.hop, interface.latent_dim) == (24000, 480, 8)
    assert interface.flow_halo == 16 and interface.source_rows == 0
    assert interface.decoder_halo > 0


def test_shapes_and_types(model: TorchAcoustic, style: FloatArray) -> None:
    """3 tokens are 6 frames; everything is float32 and without a batch axis."""
    text = model.encode_text(np.array([1, 2, 3, 4]), style)
    assert text.num_phonemes == 4
    stats = model.prior(np.array([5, 6, 7]), text)
    assert stats.mean.shape == stats.log_std.shape == (8, 6)
    assert stats.attention is not None and stats.attention.shape == (6, 4)
    latent = model.flow(stats.mean, style)
    wave = model.decoder(latent, style)
    assert latent.shape == (8, 6) and wave.shape == (6 * 480,)
    assert all(a.dtype == np.float32 for a in (stats.mean, stats.attention, latent, wave))
    assert np.abs(wave).max() <= 1


def test_style_of_several_references_is_their_mean(model: TorchAcoustic) -> None:
    """Each reference brings its own speaker embedding."""
    rng = np.random.default_rng(1)
    specs = [rng.random((513, frames)).astype(np.float32) for frames in (5, 9)]
    speakers = [rng.normal(size=9).astype(np.float32) for _ in specs]
    both = model.style_vector(specs, speakers)
    single = [model.style_vector([s], [e]) for s, e in zip(specs, speakers, strict=True)]
    assert_close(both, np.mean(single, axis=0), 1e-6)


def test_missing_or_wrong_speaker_embedding_is_refused(model: TorchAcoustic) -> None:
    """The error says how many of which size the model wants."""
    spec = np.ones((513, 4), np.float32)
    for embeddings in ([], [np.ones(8, np.float32)], [np.ones(9, np.float32)] * 2):
        with pytest.raises(InvalidParameter, match=r"embeddings is .*valid: 1 of \[9\]"):
            model.style_vector([spec], embeddings)


@pytest.mark.parametrize("ids", [[], [-1], [732]])
def test_phonemes_outside_the_symbol_set_are_refused(
    model: TorchAcoustic, style: FloatArray, ids: list[int]
) -> None:
    """An id of another symbol set is named, not looked up."""
    with pytest.raises(InvalidParameter, match="phoneme_ids is .*from 0 to 731"):
        model.encode_text(np.array(ids, np.int64), style)


def test_tokens_outside_the_codebook_are_refused(model: TorchAcoustic, style: FloatArray) -> None:
    """EOS (the codebook's size) is not a sound."""
    text = model.encode_text(np.array([1]), style)
    with pytest.raises(InvalidParameter, match="tokens is .*from 0 to 31"):
        model.prior(np.array([32]), text)


@pytest.mark.parity
@pytest.mark.parametrize("version", VERSIONS)
def test_backend_reproduces_the_golden_wave(fixtures_dir: Path, version: str) -> None:
    """From SSL features, spectrogram and tokens to samples, through the backend alone."""
    golden = load(fixtures_dir, version)
    arrays = {name: tensor[0].numpy() for name, tensor in golden.arrays.items()}
    model = TorchAcoustic(golden.network)
    tokens = model.semantic_tokens(arrays["ssl"])
    assert np.array_equal(tokens, golden["extract_codes"].numpy().ravel())
    style = model.style_vector([arrays["spec"]], [arrays["sv1"]] if golden.speakers else [])
    stats = model.prior(arrays["codes"][0], model.encode_text(arrays["text"], style))
    latent = stats.mean + arrays["noise"] * np.exp(stats.log_std) * NOISE_SCALE
    wave = model.decoder(model.flow(latent, style), style)
    assert_close(wave, golden["wav"], END_TO_END, version)
