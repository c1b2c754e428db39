"""The inverse STFT and the decoder that ends in it."""

from __future__ import annotations

import pytest
import torch

from engine.model_config import IstftConfig
from engine.models.istft import InverseStft, IstftDecoder
from tests.numerics import EXACT, assert_close
from tests.tiny_acoustic import NANO

torch.set_num_threads(1)


@pytest.mark.parametrize(("n_fft", "hop"), [(480, 120), (16, 4), (48, 8)])
def test_inverse_undoes_the_stft(n_fft: int, hop: int) -> None:
    """Away from the ends, where frames are missing, the wave comes back."""
    wave = torch.randn(2, 1, 12 * hop, generator=torch.Generator().manual_seed(0))
    padding = (n_fft - hop) // 2
    spectrum = torch.stft(
        torch.nn.functional.pad(wave[:, 0], (padding, padding)),
        n_fft,
        hop,
        window=torch.hann_window(n_fft),
        center=False,
        return_complex=True,
    )
    back = InverseStft(n_fft, hop)(spectrum.real, spectrum.imag)
    assert back.shape == wave.shape
    inside = slice(n_fft, -n_fft) if 12 * hop > 2 * n_fft else slice(5 * hop, -5 * hop)
    assert_close(back[..., inside], wave[..., inside], EXACT * 5)


def test_a_frame_sounds_in_its_own_place() -> None:
    """One frame's spectrum spreads over n_fft samples centred on its hop."""
    inverse = InverseStft(16, 4)
    real = torch.zeros(1, 9, 11)
    real[:, 1:8, 5] = 1.0  # an impulse-like frame
    samples = inverse(real, torch.zeros_like(real))[0, 0]
    where = samples.abs().gt(1e-6).nonzero().flatten()
    assert 5 * 4 - 6 <= where.min() and where.max() < 6 * 4 + 6


def test_windows_that_do_not_sum_to_a_constant_are_refused() -> None:
    """Fewer than four overlaps would leave the hop audible."""
    with pytest.raises(AssertionError, match="overlap"):
        InverseStft(240, 120)


def test_basis_is_not_a_weight() -> None:
    """The transform is computed, not stored: checkpoints hold learned tensors only."""
    settings = NANO.decoder
    assert isinstance(settings, IstftConfig)
    assert not any("inverse" in name for name in IstftDecoder(NANO, settings).state_dict())


def test_style_reaches_both_rates() -> None:
    """The condition has a part for the frame blocks and one for the STFT blocks."""
    settings = NANO.decoder
    assert isinstance(settings, IstftConfig)
    torch.manual_seed(0)
    decoder = IstftDecoder(NANO, settings).requires_grad_(False)
    latent = torch.randn(1, NANO.latent_dim, 4)
    style = torch.randn(1, NANO.gin_dim, 1)
    plain = decoder(latent, style)
    for rows in (slice(0, 16), slice(16, 28)):
        other = IstftDecoder(NANO, settings)
        other.load_state_dict(decoder.state_dict())
        with torch.no_grad():
            other.condition.weight[rows] = 0
            assert not torch.allclose(other(latent, style), plain)
