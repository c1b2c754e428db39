"""Chunks of flow and decoder are the whole decode."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from engine.backends.torch_acoustic import TorchAcoustic
from engine.latent_stream import LatentStream
from engine.model_config import (
    AcousticConfig,
    DecoderConfig,
    HarmonicConfig,
    HifiGanConfig,
    IstftConfig,
)
from engine.models.acoustic import init_random
from engine.types import FloatArray

DECODERS: dict[str, DecoderConfig] = {
    "v2": HifiGanConfig(initial_channels=32),
    "v2ProPlus": HifiGanConfig(initial_channels=32, upsample_kernels=(20, 16, 8, 2, 2)),
    "istft": IstftConfig(frame_channels=16, channels=16, blocks=3, n_fft=640, hop=160),
    "harmonic": HarmonicConfig(frame_channels=16, channels=16, blocks=3, n_fft=640, hop=160),
}


@cache
def build(kind: str) -> TorchAcoustic:
    """Return a small network whose flow is not the identity."""
    config = AcousticConfig(
        ssl_dim=8,
        codebook_size=32,
        codebook_dim=8,
        latent_dim=8,
        hidden_dim=8,
        filter_dim=12,
        mrte_dim=16,
        gin_dim=12,
        style_hidden=8,
        decoder=DECODERS[kind],
    )
    network = init_random(config, seed=3)
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for coupling in network.flow.couplings:
            weight = coupling.shift.weight  # type: ignore[union-attr]
            weight.copy_(torch.from_numpy(rng.normal(0, 0.3, weight.shape)).float())  # type: ignore[arg-type, union-attr]
    torch.set_num_threads(1)
    return TorchAcoustic(network)


def stream(
    model: TorchAcoustic, latent: FloatArray, style: FloatArray, chunk: int, lookahead: int
) -> tuple[FloatArray, int]:
    """Decode `latent` in steps of `chunk` frames with `lookahead` true frames beyond each."""
    state = LatentStream(model, style)
    parts = [
        state.step(latent[:, at : at + chunk], latent[:, at + chunk : at + chunk + lookahead])
        for at in range(0, latent.shape[1], chunk)
    ]
    return np.concatenate(parts), state.num_frames_decoded


@pytest.mark.parametrize("kind", DECODERS)
def test_calls_of_few_lengths_equal_the_whole_decode(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames decoded twice are heard once."""
    model = build(kind)
    rng = np.random.default_rng(2)
    latent = rng.normal(size=(8, 157)).astype(np.float32)
    style = rng.normal(size=12).astype(np.float32)
    whole, _ = stream(model, latent, style, latent.shape[1], 0)
    monkeypatch.setattr(model, "decoder_widths", (6, 14, 40))
    halo = model.flow_halo + model.decoder_halo
    for chunk in (10, 33, 157):
        pieces, _ = stream(model, latent, style, chunk, halo)
        assert np.abs(pieces - whole).max() < (5e-5 if kind == "harmonic" else 1e-6)


# More than two halos, and the last chunk is never a full one: but no more calls than that needs.
@pytest.mark.parametrize(("tokens", "num_frames"), [(1, 47), (2, 59), (7, 97), (25, 130)])
@pytest.mark.parametrize("kind", DECODERS)
def test_chunks_equal_the_whole_decode(kind: str, tokens: int, num_frames: int) -> None:
    """With the full halo known, every sample is within 1e-6 of full scale of the whole."""
    model = build(kind)
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(8, num_frames)).astype(np.float32)
    style = rng.normal(size=12).astype(np.float32)
    whole, _ = stream(model, latent, style, num_frames, 0)
    halo = model.flow_halo + model.decoder_halo
    chunked, _ = stream(model, latent, style, 2 * tokens, halo)
    assert whole.shape == chunked.shape == (num_frames * model.hop,)
    assert np.abs(whole).max() > 1e-3
    # A pulse train's upper harmonics multiply the rounding of its pitch by up to 150.
    limit = 5e-5 if kind == "harmonic" else 1e-6
    assert np.abs(whole - chunked).max() <= limit


def test_a_missing_halo_is_heard() -> None:
    """The comparison bites: without lookahead the samples before a border differ."""
    model = build("v2")
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(8, 100)).astype(np.float32)
    style = rng.normal(size=12).astype(np.float32)
    whole, _ = stream(model, latent, style, 100, 0)
    chunked, _ = stream(model, latent, style, 50, 0)
    assert np.abs(whole - chunked).max() > 1e-3 * np.abs(whole).max()


def test_a_steady_chunk_repeats_at_most_a_quarter() -> None:
    """At 50-token chunks the decoder sees at most 25 % more frames than it gives out."""
    model = build("v2")
    latent = np.zeros((8, 400), np.float32)
    _, decoded = stream(model, latent, np.zeros(12, np.float32), 100, 43)
    assert decoded <= 1.25 * 400
