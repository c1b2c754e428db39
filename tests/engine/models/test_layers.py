"""The shared small parts."""

from __future__ import annotations

import torch
from torch import nn

from engine.models.layers import ChannelNorm, GatedStack, fold_weight_norm, leaky, weight_normed
from tests.numerics import EXACT, assert_close

torch.set_num_threads(1)


def test_norm_is_over_channels_with_upstream_s_eps() -> None:
    """Nearly constant channels show the 1e-5 under the root."""
    x = 0.003 * torch.randn(1, 6, 4, dtype=torch.float64) + 1
    centred = x - x.mean(dim=1, keepdim=True)
    expected = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    assert_close(ChannelNorm(6).double()(x), expected, 1e-12)


def test_weight_norm_is_over_axis_0_also_when_transposed() -> None:
    """One length per input channel of a transposed convolution."""
    conv = weight_normed(nn.ConvTranspose1d(5, 3, 4))
    lengths = conv.parametrizations.weight.original0  # type: ignore[union-attr]
    assert lengths.shape == (5, 1, 1)
    assert torch.allclose(conv.weight.norm(dim=(1, 2)), lengths.flatten())


def test_folding_keeps_the_function_and_drops_the_split() -> None:
    """After folding there is one plain weight and the output is the same."""
    torch.manual_seed(0)
    stack = GatedStack(4, 3, 2, condition_dim=5)
    x, condition = torch.randn(1, 4, 9), torch.randn(1, 5, 1)
    before = stack(x, condition)
    fold_weight_norm(stack)
    assert set(stack.state_dict()) == {
        f"{name}.{leaf}"
        for name in ("condition", "inputs.0", "inputs.1", "outputs.0", "outputs.1")
        for leaf in ("weight", "bias")
    }
    assert_close(stack(x, condition), before, EXACT)


def test_gated_stack_reaches_half_a_kernel_per_layer() -> None:
    """3 layers of kernel 5 see 6 frames each side and no more."""
    torch.manual_seed(0)
    stack = GatedStack(4, 5, 3, condition_dim=2).double()
    x = torch.randn(1, 4, 31, dtype=torch.float64)
    condition = torch.randn(1, 2, 1, dtype=torch.float64)
    changed = x.clone()
    changed[..., 15] += 1
    touched = (stack(changed, condition) != stack(x, condition)).any(dim=1)[0].nonzero().flatten()
    assert touched.min() == 9 and touched.max() == 21


def test_leaky_slope_is_a_tenth() -> None:
    """Upstream's slope between convolutions."""
    assert torch.equal(leaky(torch.tensor([-1.0, 2.0])), torch.tensor([-0.1, 2.0]))
