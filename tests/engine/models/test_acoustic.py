"""The acoustic network as a whole: halos, chunks, masks, randomness, every version's config."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.model_config import AcousticConfig, HifiGanConfig
from engine.models.acoustic import AcousticNetwork, init_random
from engine.models.decoder import Context
from tests import tiny_acoustic
from tests.numerics import EXACT, assert_close, relative_error

torch.set_num_threads(1)
DECODERS = [pytest.param(tiny_acoustic.ALL[name], id=name) for name in ("v2", "v2ProPlus", "nano")]
CONFIGS = [pytest.param(config, id=name) for name, config in tiny_acoustic.ALL.items()]


def network(config: AcousticConfig, seed: int = 1) -> AcousticNetwork:
    """Return a random network whose flow is not the identity."""
    net = init_random(config, seed, with_posterior=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for coupling in net.flow.couplings:
            torch.nn.init.normal_(coupling.shift.weight, std=0.5)  # type: ignore[union-attr, arg-type]
    return net.requires_grad_(False).eval()


def latent_and_style(config: AcousticConfig, frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(1, config.latent_dim, frames, generator=generator),
        torch.randn(1, config.gin_dim, 1, generator=generator),
    )


def touched_frames(before: Tensor, after: Tensor, hop: int) -> tuple[int, int]:
    """Return the first and last frame in which anything differs."""
    different = (before != after).reshape(-1, before.shape[-1] // hop, hop).any(dim=2).any(dim=0)
    where = different.nonzero().flatten()
    return int(where.min()), int(where.max())


@pytest.mark.parametrize(
    ("kernels", "halo"),
    [
        ((16, 16, 8, 2, 2), 11),
        ((20, 16, 8, 2, 2), 11),
        ((10, 8, 2, 2, 2), 11),
        ((30, 8, 2, 2, 2), 12),
    ],
)
def test_decoder_halo_is_what_a_perturbation_reaches(kernels: tuple[int, ...], halo: int) -> None:
    """A changed frame changes the samples of `halo_frames` frames each side, no less, no more."""
    settings = HifiGanConfig(initial_channels=32, upsample_kernels=kernels)
    config = replace(tiny_acoustic.HIFIGAN, decoder=settings)
    net = network(config).double()
    latent, style = (x.double() for x in latent_and_style(config, 41))
    changed = latent.clone()
    changed[..., 20] += 100
    first, last = touched_frames(
        net.decoder(latent, style), net.decoder(changed, style), config.hop
    )
    assert net.decoder_halo == halo
    assert 20 - first <= halo and last - 20 <= halo
    assert max(20 - first, last - 20) == halo


def test_istft_halo_is_what_a_perturbation_reaches() -> None:
    """Nothing beyond the halo changes, and the last STFT block's frames within it do."""
    config = tiny_acoustic.NANO
    net = network(config).double()
    net.decoder.inverse.double()
    latent, style = (x.double() for x in latent_and_style(config, 41))
    changed = latent.clone()
    changed[..., 20] += 1
    first, last = touched_frames(
        net.decoder(latent, style), net.decoder(changed, style), config.hop
    )
    assert max(20 - first, last - 20) == net.decoder_halo


def test_flow_halo_is_what_a_perturbation_reaches() -> None:
    """4 couplings of 4 layers of kernel 5: 32 frames each side."""
    config = tiny_acoustic.HIFIGAN
    net = network(config).double()
    for name, weight in net.flow.named_parameters():
        if name.endswith("original0") and "condition" not in name:
            weight.mul_(3)  # else the outermost effects vanish in float64
    latent, style = (x.double() for x in latent_and_style(config, 81))
    changed = latent.clone()
    changed[..., 40] += 1
    first, last = touched_frames(
        net.flow_reverse(latent, style), net.flow_reverse(changed, style), 1
    )
    assert (40 - first, last - 40) == (32, 32) == (net.flow_halo, net.flow_halo)


@pytest.mark.parametrize("config", DECODERS)
def test_chunks_with_halos_equal_the_whole(config: AcousticConfig) -> None:
    """Flow and decoder over windows of any size join to the result of one call."""
    net = network(config)
    latent, style = latent_and_style(config, 40)
    whole = net.decode(net.flow_reverse(latent, style), style)
    assert whole.shape == (1, 1, 40 * config.hop)
    flow_halo, decoder_halo = net.flow_halo, net.decoder_halo
    for size in (3, 25):
        pieces = []
        for start in range(0, 40, size):
            end = min(start + size, 40)
            left, right = max(0, start - decoder_halo), min(40, end + decoder_halo)
            far_left, far_right = max(0, left - flow_halo), min(40, right + flow_halo)
            flowed = net.flow_reverse(latent[..., far_left:far_right], style)
            window = flowed[..., left - far_left : right - far_left]
            pieces.append(net.decode(window, style, Context(start - left, right - end)))
        assert_close(torch.cat(pieces, dim=2), whole, EXACT * 5, f"chunks of {size}")


@pytest.mark.parametrize("config", CONFIGS)
def test_every_version_runs_from_reference_to_wave(config: AcousticConfig) -> None:
    """Tokens, text and a reference give 2T frames of finite audio, style and text matter."""
    net = network(config)
    generator = torch.Generator().manual_seed(3)
    spec = torch.rand(1, config.spec_bins, 9, generator=generator)
    speaker = (
        [torch.randn(1, config.speaker_dim, generator=generator)] if config.speaker_dim else None
    )
    tokens = net.extract_codes(torch.randn(1, config.ssl_dim, 11, generator=generator))
    assert tokens.shape == (1, 5)
    style = net.style_vector([spec], speaker)
    memory = net.encode_text(torch.tensor([[1, 2, 3]]), style)
    stats = net.prior_stats(tokens, memory)
    assert stats.mean.shape == stats.log_std.shape == (1, config.latent_dim, 10)
    assert stats.attention.shape == (1, 10, 3)
    wave = net.decode(net.flow_reverse(stats.mean, style), style)
    assert wave.shape == (1, 1, 10 * config.hop)
    assert wave.isfinite().all() and wave.abs().max() <= 1
    other_text = net.encode_text(torch.tensor([[1, 2, 4]]), style)
    assert relative_error(net.prior_stats(tokens, other_text).mean, stats.mean) > 1e-3
    other_style = net.encode_text(torch.tensor([[1, 2, 3]]), style * 2)
    assert relative_error(net.prior_stats(tokens, other_style).mean, stats.mean) > 1e-3


def test_v1_reads_all_bins_and_v2_the_first_704() -> None:
    """The style ignores what lies above `style_bins`."""
    for config, reads_top in ((tiny_acoustic.V1, True), (tiny_acoustic.HIFIGAN, False)):
        net = network(config)
        spec = torch.rand(1, 1025, 6, generator=torch.Generator().manual_seed(1))
        changed = spec.clone()
        changed[:, 704:] += 1
        same = torch.equal(net.style_vector([spec]), net.style_vector([changed]))
        assert same is not reads_top


def test_flow_directions_are_inverse() -> None:
    """Training direction and synthesis direction undo each other."""
    config = tiny_acoustic.PRO
    net = network(config)
    latent, style = latent_and_style(config, 13)
    assert relative_error(net.flow(latent, style), latent) > 0.01
    assert_close(net.flow_reverse(net.flow(latent, style), style), latent, EXACT)


def test_padded_batch_equals_its_rows() -> None:
    """Training's masks keep padding out of style, prior, posterior and flow."""
    config = tiny_acoustic.PRO
    net = network(config)
    generator = torch.Generator().manual_seed(5)
    spec = torch.rand(2, config.spec_bins, 12, generator=generator)
    speaker = torch.randn(2, config.speaker_dim, generator=generator)
    text = torch.randint(0, 300, (2, 7), generator=generator)
    tokens = torch.randint(0, config.codebook_size, (2, 6), generator=generator)
    noise = torch.randn(2, config.latent_dim, 12, generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [8]])).float()[:, None]
    text_mask = (torch.arange(7) < torch.tensor([[7], [4]])).float()[:, None]

    def run(rows: slice, frames: int, phonemes: int, masks: tuple[Tensor | None, Tensor | None]):  # type: ignore[no-untyped-def]
        style = net.style(spec[rows, :, :frames], speaker[rows], masks[0])
        memory = net.encode_text(text[rows, :phonemes], style, masks[1])
        prior = net.prior_stats(tokens[rows, : frames // 2], memory, *masks)
        posterior = net.encode_posterior(
            spec[rows, :, :frames], style, noise[rows, :, :frames], masks[0]
        )
        return (
            prior.mean,
            prior.log_std,
            posterior.latent,
            net.flow(posterior.latent, style, masks[0]),
        )

    batch = run(slice(0, 2), 12, 7, (mask, text_mask))
    alone = run(slice(1, 2), 8, 4, (None, None))
    for together, single in zip(batch, alone, strict=True):
        assert_close(together[1:, :, :8], single, EXACT * 5)
        assert torch.count_nonzero(together[1, :, 8:]) == 0


def test_posterior_does_not_train_the_style_encoder() -> None:
    """No gradient reaches the style through the posterior, but one does through the decoder."""
    config = tiny_acoustic.HIFIGAN
    net = init_random(config, 1, with_posterior=True)
    spec = torch.rand(1, config.spec_bins, 8)
    style = net.style_vector([spec]).detach().requires_grad_()
    posterior = net.encode_posterior(spec, style, torch.zeros(1, config.latent_dim, 8))
    (through,) = torch.autograd.grad(posterior.mean.sum(), style, allow_unused=True)
    assert through is None
    wave = net.decoder(posterior.latent.detach(), style)
    (through,) = torch.autograd.grad(wave.square().sum(), style)
    assert through.abs().sum() > 0


def test_dropout_acts_in_training_only() -> None:
    """Two training passes differ, two inference passes do not."""
    config = tiny_acoustic.HIFIGAN
    net = init_random(config, 1, dropout=0.5)
    tokens, text = torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5]])
    style = torch.ones(1, config.gin_dim, 1)

    def mean() -> Tensor:
        return net.prior_stats(tokens, net.encode_text(text, style)).mean

    assert not torch.equal(mean(), mean())
    net.eval()
    assert torch.equal(mean(), mean())


def test_random_weights_depend_on_the_seed_only() -> None:
    """Same seed, same weights; torch's own generator is not moved."""
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = init_random(tiny_acoustic.NANO, 4).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = init_random(tiny_acoustic.NANO, 4).state_dict()
    other = init_random(tiny_acoustic.NANO, 5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["quantizer.codebook"], other["quantizer.codebook"])


def test_prepared_for_inference_has_no_training_parts() -> None:
    """No posterior, no gradient, no split weights; the function is unchanged."""
    config = tiny_acoustic.NANO
    net = network(config)
    latent, style = latent_and_style(config, 5)
    before = net.decode(net.flow_reverse(latent, style), style)
    net.prepare_inference()
    assert not any(name.startswith("posterior") for name in net.state_dict())
    assert not any("parametrizations" in name for name in net.state_dict())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert_close(net.decode(net.flow_reverse(latent, style), style), before, EXACT * 5)
