"""The acoustic graphs against the torch network, on lengths they were not traced with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.backends.base import AcousticModel
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.torch_acoustic import TorchAcoustic
from engine.backends.torch_weights import load_weights
from engine.config import EngineConfig
from engine.errors import InvalidParameter
from engine.models.acoustic import AcousticNetwork
from engine.pack import Pack
from engine.types import FloatArray
from tests.numerics import EXACT, STAGE, assert_close

STYLE = np.linspace(-1, 1, 16, dtype=np.float32)


@pytest.fixture(scope="module")
def pair(micro: Pack) -> tuple[AcousticModel, AcousticModel]:
    """The same weights in both runtimes."""
    torch.set_num_threads(1)
    network = AcousticNetwork(micro.config.acoustic)
    load_weights(network, micro.tensors("acoustic"), "acoustic")
    return OnnxBackend(micro, EngineConfig(num_slots=1)).acoustic, TorchAcoustic(network)


def latent(frames: int) -> FloatArray:
    return np.random.default_rng(frames).standard_normal((8, frames)).astype(np.float32)


def test_both_say_the_same_of_themselves(pair: tuple[AcousticModel, AcousticModel]) -> None:
    """Rate, hop, sizes and halos."""
    for name in ("sample_rate_hz", "hop", "latent_dim", "source_rows", "flow_halo", "decoder_halo"):
        assert getattr(pair[0], name) == getattr(pair[1], name), name


@pytest.mark.parametrize(("phonemes", "tokens"), [(1, 1), (2, 9), (50, 30)])
def test_the_prior_is_torch_s(
    pair: tuple[AcousticModel, AcousticModel], phonemes: int, tokens: int
) -> None:
    """Mean, deviation and attention, also of one phoneme and one token."""
    ids, codes = np.arange(phonemes) * 7 % 732, np.arange(tokens) * 5 % 64
    ours, theirs = (model.prior(codes, model.encode_text(ids, STYLE)) for model in pair)
    assert_close(ours.mean, theirs.mean, STAGE, "mean")
    assert_close(ours.log_std, theirs.log_std, STAGE, "log_std")
    assert ours.attention is not None and ours.attention.shape == (2 * tokens, phonemes)
    assert_close(ours.attention, theirs.attention, STAGE, "attention")


@pytest.mark.parametrize("frames", [1, 2, 37])
def test_flow_and_decoder_are_torch_s(
    pair: tuple[AcousticModel, AcousticModel], frames: int
) -> None:
    """From one frame on; the audio has hop samples a frame and stays within [-1, 1]."""
    ours, theirs = pair
    flowed = ours.flow(latent(frames), STYLE)
    assert_close(flowed, theirs.flow(latent(frames), STYLE), STAGE, "flow")
    samples = ours.decoder(flowed, STYLE)
    assert samples.shape == (frames * 480,) and np.abs(samples).max() <= 1.0
    assert_close(samples, theirs.decoder(flowed, STYLE), 1e-4, "decoder")


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 9), (9, 12), (12, 40), (40, 50), (0, 50)])
def test_frames_with_their_halo_sound_as_in_the_whole(
    pair: tuple[AcousticModel, AcousticModel], start: int, end: int
) -> None:
    """The context the decoder is told of is not heard, and what it drops of it was not needed."""
    flowed = latent(50)
    for model in pair:
        before = min(model.decoder_halo, start)
        after = min(model.decoder_halo, 50 - end)
        samples = model.decoder(flowed[:, start - before : end + after], STYLE, before, after)
        whole = model.decoder(flowed, STYLE)
        assert_close(samples, whole[start * 480 : end * 480], EXACT * 5, type(model).__name__)


def test_ids_out_of_range_are_refused(pair: tuple[AcousticModel, AcousticModel]) -> None:
    """Before a graph can read beyond its table."""
    model = pair[0]
    text = model.encode_text(np.array([1]), STYLE)
    for tokens in ([], [-1], [64]):
        with pytest.raises(InvalidParameter, match="tokens is .* from 0 to 63"):
            model.prior(np.array(tokens, np.int64), text)
    with pytest.raises(InvalidParameter, match="phoneme_ids is .* from 0 to 731"):
        model.encode_text(np.array([732]), STYLE)
