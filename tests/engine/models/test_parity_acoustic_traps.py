"""Each easy mistake, planted on purpose, must be caught by the golden arrays.

If one of these tests fails, the comparison has lost its teeth, not the network its correctness.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.models import attention, decoder, layers
from engine.models.flow import Flow
from tests.golden_acoustic import STAGES, Golden, load
from tests.numerics import STAGE, relative_error

pytestmark = pytest.mark.parity

Plant = Callable[[Golden, pytest.MonkeyPatch], None]


def upper_bins(g: Golden, patch: pytest.MonkeyPatch) -> None:
    bins = g.network.style.spectrum.bins
    g.arrays["spec"].copy_(g["spec"].roll(-(g["spec"].shape[1] - bins), dims=1))


def no_prelu(g: Golden, patch: pytest.MonkeyPatch) -> None:
    g.network.style.activation = nn.Identity()  # type: ignore[assignment]


def prelu_after_the_mean(g: Golden, patch: pytest.MonkeyPatch) -> None:
    activation = g.network.style.activation
    g.network.style.activation = nn.Identity()  # type: ignore[assignment]
    mean = g.network.style_vector

    def late(specs: list[Tensor], speakers: list[Tensor] | None = None) -> Tensor:
        assert activation is not None
        return activation(mean(specs, speakers))

    g.network.style_vector = late  # type: ignore[method-assign]


def style_attention_scaled_by_head(g: Golden, patch: pytest.MonkeyPatch) -> None:
    module = g.network.style.spectrum.attention
    module.scale *= module.num_heads**0.5


def last_slope_like_the_others(g: Golden, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decoder, "LAST_SLOPE", 0.1)


def other_slopes_like_the_last(g: Golden, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layers, "LEAKY_SLOPE", 0.01)


def transposed_norm_over_outputs(g: Golden, patch: pytest.MonkeyPatch) -> None:
    for stage in g.network.decoder.stages:
        split = stage.upsample.parametrizations.weight  # type: ignore[union-attr]
        length, direction = split.original0, split.original1  # type: ignore[union-attr]
        wrong = length * direction / direction.norm(dim=(0, 2), keepdim=True)
        nn.utils.parametrize.remove_parametrizations(stage.upsample, "weight")  # type: ignore[arg-type]
        stage.upsample.weight = nn.Parameter(wrong)  # type: ignore[union-attr]


def sum_of_blocks(g: Golden, patch: pytest.MonkeyPatch) -> None:
    stage = g.network.decoder.stages[0]
    stage.register_forward_hook(lambda module, args, output: (output[0] * 3, output[1]))


def no_flip(g: Golden, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tensor, "flip", lambda tensor, *dims: tensor)


def couplings_in_training_order(g: Golden, patch: pytest.MonkeyPatch) -> None:
    def inverse(flow: Flow, latent: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        for coupling in flow.couplings:
            latent = coupling.inverse(latent.flip(1), style, mask)  # type: ignore[operator]
        return latent

    patch.setattr(Flow, "inverse", inverse)


def gates_swapped(g: Golden, patch: pytest.MonkeyPatch) -> None:
    tanh, sigmoid = torch.tanh, torch.sigmoid
    patch.setattr(torch, "tanh", sigmoid)
    patch.setattr(torch, "sigmoid", tanh)


def narrower_window(g: Golden, patch: pytest.MonkeyPatch) -> None:
    for module in g.network.prior.modules():
        if isinstance(module, attention.RelativeSelfAttention):
            module.relative_key[:, [0, -1]] = 0
            module.relative_value[:, [0, -1]] = 0


def no_relative_values(g: Golden, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        attention, "square_to_band", lambda square, window: square[..., : 2 * window + 1] * 0
    )


def window_mirrored(g: Golden, patch: pytest.MonkeyPatch) -> None:
    for module in g.network.prior.modules():
        if isinstance(module, attention.RelativeSelfAttention):
            module.relative_key.copy_(torch.flip(module.relative_key, (1,)))


def no_style_in_fusion(g: Golden, patch: pytest.MonkeyPatch) -> None:
    g.arrays["ge"].zero_()


def no_frame_residual_in_fusion(g: Golden, patch: pytest.MonkeyPatch) -> None:
    g.network.prior.fusion.frame_in.register_forward_hook(lambda m, a, out: out - out.mean())


def rows_interpolated(g: Golden, patch: pytest.MonkeyPatch) -> None:
    def linear(rows: Tensor, repeats: int, dim: int) -> Tensor:
        return nn.functional.interpolate(rows, scale_factor=repeats, mode="linear")

    patch.setattr(Tensor, "repeat_interleave", linear)


def first_row_wins(g: Golden, patch: pytest.MonkeyPatch) -> None:
    g.network.quantizer.project.weight.copy_(g.network.quantizer.project.weight.flip(2))


# mistake, the stage that must notice, versions it exists in
MISTAKES: list[tuple[Plant, str, tuple[str, ...]]] = [
    (upper_bins, "ref_enc", ("v2", "v2Pro")),
    (no_prelu, "ge", ("v2Pro", "v2ProPlus")),
    (prelu_after_the_mean, "ge_two_refs", ("v2Pro",)),
    (style_attention_scaled_by_head, "ref_enc", ("v2",)),
    (last_slope_like_the_others, "wav", ("v2", "v2ProPlus")),
    (other_slopes_like_the_last, "wav", ("v2",)),
    (transposed_norm_over_outputs, "dec_up0", ("v2", "v2ProPlus")),
    (sum_of_blocks, "dec_up0", ("v2",)),
    (no_flip, "z", ("v2",)),
    (couplings_in_training_order, "z", ("v2",)),
    (gates_swapped, "flow_after_0", ("v2",)),
    (narrower_window, "enc_ssl", ("v2",)),
    (no_relative_values, "enc_text", ("v2",)),
    (window_mirrored, "enc2", ("v2",)),
    (no_style_in_fusion, "mrte", ("v2", "v2Pro")),
    (no_frame_residual_in_fusion, "mrte", ("v2",)),
    (rows_interpolated, "quantized", ("v2",)),
    (first_row_wins, "ssl_proj", ("v2",)),
]


@pytest.mark.parametrize(
    ("plant", "stage", "version"),
    [
        pytest.param(plant, stage, version, id=f"{plant.__name__}-{version}")
        for plant, stage, versions in MISTAKES
        for version in versions
    ],
)
def test_planted_mistake_is_caught(
    fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant, stage: str, version: str
) -> None:
    """The stage agrees as it is and disagrees with the mistake in it."""
    torch.set_num_threads(1)
    golden = load(fixtures_dir, version)
    expected = golden[stage].clone()
    compute, _ = STAGES[stage]
    assert relative_error(compute(golden), expected) <= STAGE
    with monkeypatch.context() as patch:
        plant(golden, patch)
        wrong = compute(golden)
    assert relative_error(wrong, expected) > STAGE


def test_another_norm_eps_is_noticed(fixtures_dir: Path) -> None:
    """Layer norms with 1e-6 under the root, not 1e-5, fit clearly worse.

    The difference is near the tolerance of a stage, so the two fits are compared instead.
    """
    torch.set_num_threads(1)
    golden = load(fixtures_dir, "v2")
    compute, _ = STAGES["enc2"]
    right = relative_error(compute(golden), golden["enc2"])
    for module in golden.network.prior.modules():
        if isinstance(module, layers.ChannelNorm):
            module.eps = 1e-6
    wrong = relative_error(compute(golden), golden["enc2"])
    assert right * 3 < wrong
