"""Relative attention against its definition."""

from __future__ import annotations

import pytest
import torch

from engine.model_config import AcousticConfig, IstftConfig
from engine.models.acoustic import init_random
from engine.models.attention import (
    CrossAttention,
    Encoder,
    RelativeSelfAttention,
    band_to_square,
    square_to_band,
)
from tests.numerics import EXACT, assert_close

torch.set_num_threads(1)


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9, 13])
def test_band_lands_on_the_diagonals(length: int) -> None:
    """Offset d of row i goes to column i + d, also when the window is wider than the sequence."""
    window = 4
    band = torch.randn(2, 3, length, 2 * window + 1)
    expected = torch.zeros(2, 3, length, length)
    for i in range(length):
        for d in range(-window, window + 1):
            if 0 <= i + d < length:
                expected[:, :, i, i + d] = band[:, :, i, d + window]
    assert torch.equal(band_to_square(band, window), expected)


@pytest.mark.parametrize("length", [1, 3, 6, 11])
def test_reading_the_band_undoes_placing_it(length: int) -> None:
    """square_to_band returns what band_to_square placed, zero where the sequence ends."""
    window = 2
    band = torch.randn(1, length, 2 * window + 1)
    for i in range(length):
        for d in range(-window, window + 1):
            if not 0 <= i + d < length:
                band[:, i, d + window] = 0
    assert torch.equal(square_to_band(band_to_square(band, window), window), band)


def test_self_attention_equals_its_definition() -> None:
    """Scores and outputs get the relative embedding of j - i inside the window only."""
    torch.manual_seed(0)
    heads, dim, length, window = 2, 4, 7, 2
    module = RelativeSelfAttention(heads * dim, heads, window, dropout=0.0)
    x = torch.randn(1, heads * dim, length)
    query, key, value = (
        f(x)[0].reshape(heads, dim, length) for f in (module.query, module.key, module.value)
    )
    output = torch.zeros(heads, dim, length)
    for h in range(heads):
        for i in range(length):
            near = [j for j in range(length) if abs(j - i) <= window]
            keys = key[h].clone()
            for j in near:
                keys[:, j] += module.relative_key[0, j - i + window]
            weights = (query[h, :, i] @ keys / dim**0.5).softmax(0)
            output[h, :, i] = value[h] @ weights
            for j in near:
                output[h, :, i] += weights[j] * module.relative_value[0, j - i + window]
    assert_close(module(x), module.out(output.reshape(1, -1, length)), EXACT * 5)


def test_cross_attention_weights_sum_to_one() -> None:
    """The weights handed out for timings are a distribution over the source."""
    torch.manual_seed(0)
    module = CrossAttention(16, 4)
    keys, values = module.memory(torch.randn(2, 16, 5))
    output, weights = module(torch.randn(2, 16, 9), keys, values)
    assert output.shape == (2, 16, 9) and weights.shape == (2, 9, 5)
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, 9))


def test_padding_does_not_reach_real_frames() -> None:
    """A padded row gives the same real frames as the row alone."""
    torch.manual_seed(0)
    encoder = Encoder(2, channels=8, hidden=12, num_heads=2, kernel=3, window=4)
    x = torch.randn(1, 8, 6)
    padded = torch.cat((x, torch.randn(1, 8, 5)), dim=2)
    mask = torch.tensor([[[1.0] * 6 + [0.0] * 5]])
    assert_close(encoder(padded, mask)[..., :6], encoder(x), EXACT * 5)
    assert torch.count_nonzero(encoder(padded, mask)[..., 6:]) == 0


def test_a_span_makes_the_reach_finite() -> None:
    """What lies beyond the prior's reach changes nothing; what lies at its edge does."""
    config = AcousticConfig(
        ssl_dim=8,
        codebook_size=16,
        codebook_dim=8,
        latent_dim=4,
        hidden_dim=8,
        filter_dim=12,
        mrte_dim=8,
        gin_dim=8,
        style_hidden=8,
        ssl_layers=2,
        fusion_layers=2,
        text_layers=1,
        span_back=3,
        span_ahead=1,
        decoder=IstftConfig(frame_channels=8, channels=8, blocks=1, n_fft=640, hop=160),
    )
    network = init_random(config, 4).double().eval()
    reach = config.prior_reach
    layers = config.ssl_layers + config.fusion_layers
    assert reach == (layers * 5, layers * 3)
    rows = torch.randn(1, config.codebook_dim, 80, dtype=torch.float64)
    style = torch.zeros(1, config.gin_dim, 1, dtype=torch.float64)
    memory = network.encode_text(torch.arange(5)[None], style)
    before = network.prior(rows, memory).mean
    changed = rows.clone()
    changed[:, :, 40] += 1.0
    moved = (network.prior(changed, memory).mean - before).abs().amax(dim=(0, 1)) > 0
    places = moved.nonzero().flatten().tolist()
    assert min(places) >= 40 - reach[1] and max(places) <= 40 + reach[0]
    assert min(places) <= 40 - reach[1] + 1 and max(places) > 40 + reach[0] // 2
