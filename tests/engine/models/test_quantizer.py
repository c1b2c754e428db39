"""Semantic tokens."""

from __future__ import annotations

from dataclasses import replace

import torch

from engine.models.quantizer import Quantizer
from tests.tiny_acoustic import HIFIGAN

torch.set_num_threads(1)


def quantizer(codebook_dim: int) -> Quantizer:
    torch.manual_seed(0)
    module = Quantizer(replace(HIFIGAN, codebook_dim=codebook_dim)).requires_grad_(False)
    module.codebook.normal_()
    return module


def test_token_is_the_nearest_row() -> None:
    """Compared with the distance written out, also where the codebook is narrower than the SSL."""
    for dim in (12, 5):
        module = quantizer(dim)
        ssl = torch.randn(2, 12, 20)
        features = module.project(ssl).transpose(1, 2)
        distance = (features[:, :, None] - module.codebook).norm(dim=3)
        assert torch.equal(module(ssl), distance.argmin(dim=2))


def test_odd_last_frame_is_dropped() -> None:
    """Two frames make a token; half a token is none."""
    module = quantizer(12)
    ssl = torch.randn(1, 12, 9)
    assert torch.equal(module(ssl), module(ssl[..., :8]))


def test_lookup_gives_every_row_twice() -> None:
    """Tokens at 25 Hz become frames at 50 Hz by repetition."""
    module = quantizer(12)
    rows = module.lookup(torch.tensor([[3, 7]]))
    expected = module.codebook[[3, 3, 7, 7]].t()[None]
    assert torch.equal(rows, expected)


def test_a_row_s_token_is_its_number() -> None:
    """Codebook rows quantise to themselves."""
    module = quantizer(12)
    assert torch.equal(module.nearest(module.codebook.t()[None]), torch.arange(32)[None])
