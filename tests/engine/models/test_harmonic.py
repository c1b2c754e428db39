"""The harmonic decoder: pitch of its pulses, filters, and chunks that equal a whole decode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.latent_stream import LatentStream
from engine.model_config import AcousticConfig, HarmonicConfig
from engine.models.acoustic import AcousticNetwork, init_random
from engine.models.harmonic import Excitation, HarmonicDecoder, Stft, with_source
from engine.models.istft import InverseStft

CONFIG = AcousticConfig(
    sample_rate_hz=24000,
    n_fft=1024,
    hop=480,
    ssl_dim=16,
    codebook_size=32,
    codebook_dim=16,
    latent_dim=8,
    hidden_dim=16,
    filter_dim=32,
    ssl_layers=1,
    text_layers=1,
    fusion_layers=1,
    mrte_dim=16,
    gin_dim=16,
    style_bins=64,
    flow_couplings=2,
    flow_layers=1,
    posterior_layers=1,
    decoder=HarmonicConfig(frame_channels=16, frame_blocks=1, channels=16, blocks=1),
)


@pytest.fixture
def network() -> AcousticNetwork:
    """A small network whose filters are far from flat."""
    network = init_random(CONFIG, 0).eval().requires_grad_(False)
    assert isinstance(network.decoder, HarmonicDecoder)
    bias = network.decoder.head.bias
    assert bias is not None
    bias.copy_(torch.randn(bias.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    return network


def test_pulses_have_the_pitch_of_the_cycles() -> None:
    """Only multiples of the asked pitch hold energy, at unit power in total."""
    cycles = torch.full((1, 1, 100), 120.0 * 480 / 24000)
    pulses, noise = Excitation(480)(with_source(torch.zeros(1, 0, 100), cycles))
    spectrum = np.abs(np.fft.rfft(pulses[0, 0].numpy() * np.hanning(48000)))
    assert set(np.argsort(-spectrum)[:8] * 0.5 % 120.0) == {0.0}
    assert float(pulses.square().mean()) == pytest.approx(1.0, abs=0.05)
    assert float(noise.square().mean()) == pytest.approx(1.0, abs=0.05)


def test_pulses_glide_without_a_jump() -> None:
    """The position within the cycle is continuous across frames of different pitch."""
    cycles = torch.linspace(1.5, 4.5, 60).reshape(1, 1, 60)
    pulses, _ = Excitation(480)(with_source(torch.zeros(1, 0, 60), cycles))
    peaks = np.flatnonzero(pulses[0, 0].numpy() > 4.0)
    starts = peaks[np.diff(peaks, prepend=-100) > 20]
    periods = np.diff(starts)
    assert np.abs(np.diff(periods)).max() <= 0.06 * periods.max() + 1


def test_stft_and_inverse_are_one() -> None:
    """What the STFT takes apart the inverse puts together, away from the ends."""
    wave = torch.randn(1, 1, 4800, generator=torch.Generator().manual_seed(0))
    back = InverseStft(480, 120)(*Stft(480, 120)(wave))
    torch.testing.assert_close(back[:, :, 480:-480], wave[:, :, 480:-480], rtol=0, atol=1e-5)


def test_filters_are_minimum_phase(network: AcousticNetwork) -> None:
    """The phase made from a one-pole resonator's gain is that resonator's own phase."""
    decoder = network.decoder
    assert isinstance(decoder, HarmonicDecoder)
    angle = torch.arange(241, dtype=torch.float64) * (2 * torch.pi / 480)
    response = 1 / (1 - 0.8 * torch.exp(-1j * angle))
    phase = decoder.hilbert[:, :, 0].double() @ response.abs().log()
    torch.testing.assert_close(phase, response.angle(), rtol=0, atol=1e-4)


def test_decoder_halo_is_exact(network: AcousticNetwork) -> None:
    """A window with the halo each side decodes to the same samples as the whole."""
    generator = torch.Generator().manual_seed(2)
    latent, style = torch.randn(1, 8, 60, generator=generator), torch.randn(1, 16, 1)
    flowed = network.flow_reverse(latent, style)
    full = with_source(flowed[:, :8], flowed[:, 8:])
    whole = network.decode(full, style)
    halo = network.decoder_halo
    window = network.decode(full[:, :, 25 - halo : 35 + halo], style)
    part = window[:, :, halo * 480 : (halo + 10) * 480]
    torch.testing.assert_close(part, whole[:, :, 25 * 480 : 35 * 480], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cuts", [[90], [1, 2, 30, 31, 90], list(range(7, 90, 7)) + [90]])
def test_stream_equals_whole_decode(network: AcousticNetwork, cuts: list[int]) -> None:
    """Phase and noise go on across chunks, to rounding (-60 dB: the phase is a running sum)."""
    from engine.backends.torch_acoustic import TorchAcoustic

    rng = np.random.default_rng(0)
    latent = rng.normal(size=(8, 90)).astype(np.float32)
    style = rng.normal(size=16).astype(np.float32)
    rows = torch.from_numpy(style)[None, :, None]
    flowed = network.flow_reverse(torch.from_numpy(latent)[None], rows)
    whole = network.decode(with_source(flowed[:, :8], flowed[:, 8:]), rows)[0, 0].numpy()

    stream = LatentStream(TorchAcoustic(network), style)
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(stream.step(latent[:, start:cut], latent[:, cut:]))
        start = cut
    error = np.concatenate(pieces) - whole
    assert np.linalg.norm(error) <= 1e-3 * np.linalg.norm(whole)
