"""The judges of adversarial training."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from engine.models.discriminators import (
    SLIM,
    V2,
    V2_PRO,
    DiscriminatorConfig,
    Discriminators,
    PeriodJudge,
    SpectralJudgeConfig,
    SpectralJudges,
)
from engine.models.official_acoustic_names import (
    discriminator_from_official,
    discriminator_to_official,
)
from engine.train.losses import mel_filters

torch.set_num_threads(1)


def test_one_verdict_per_judge_with_every_layer_s_features() -> None:
    """The wave's judge first, then one per period; features end with the scores."""
    judges = Discriminators(SLIM)
    verdicts = judges(torch.randn(2, 1, 2000))
    assert len(verdicts) == 1 + len(SLIM.periods)
    assert len(verdicts[0].features) == len(SLIM.scale) + 1
    for verdict in verdicts[1:]:
        assert len(verdict.features) == len(SLIM.period_channels) + 1
        assert torch.equal(verdict.features[-1].flatten(1), verdict.scores)


def test_spectral_judges_hear_level_and_not_phase() -> None:
    """A wave turned upside down looks the same to them, a louder one does not."""
    torch.manual_seed(0)
    config = SpectralJudgeConfig(pictures=((512, 120, 40), (256, 60, 20)), channels=(4, 8))
    judges = SpectralJudges(24000, mel_filters, config).requires_grad_(False)
    wave = 0.1 * torch.randn(1, 1, 4800)
    as_is, inverted, louder = judges(wave), judges(-wave), judges(2 * wave)
    assert len(as_is) == 2
    for a, b, c in zip(as_is, inverted, louder, strict=True):
        torch.testing.assert_close(a.scores, b.scores)
        assert not torch.allclose(a.scores, c.scores)


def test_period_judge_folds_time() -> None:
    """Samples of another column of the fold do not touch a column's scores."""
    torch.manual_seed(0)
    judge = PeriodJudge(3, SLIM).requires_grad_(False)
    wave = torch.randn(1, 1, 300)
    changed = wave.clone()
    changed[..., 1::3] += 1
    before, after = (judge(w).features[-1][0, 0] for w in (wave, changed))
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_length_is_filled_up_by_mirroring() -> None:
    """A wave that the period does not divide is judged as its mirrored continuation."""
    torch.manual_seed(0)
    judge = PeriodJudge(7, SLIM).requires_grad_(False)
    wave = torch.randn(1, 1, 100)
    mirrored = functional.pad(wave, (0, 5), mode="reflect")
    assert torch.equal(judge(wave).scores, judge(mirrored).scores)


@pytest.mark.parametrize(("config", "num_judges"), [(V2, 6), (V2_PRO, 8)], ids=["v2", "v2Pro"])
def test_full_size_has_the_official_widths(config: DiscriminatorConfig, num_judges: int) -> None:
    """Upstream's six and eight judges; a few of its tensors by name and size."""
    with torch.device("meta"):
        state = Discriminators(config).state_dict()
    shapes = {discriminator_to_official(name): tuple(x.shape) for name, x in state.items()}
    assert len({name.split(".")[1] for name in shapes}) == num_judges
    assert shapes["discriminators.0.convs.4.weight_v"] == (1024, 4, 41)
    assert shapes["discriminators.0.conv_post.weight_v"] == (1, 1024, 3)
    for judge in range(1, num_judges):
        assert shapes[f"discriminators.{judge}.convs.3.weight_v"] == (1024, 512, 5, 1)
        assert shapes[f"discriminators.{judge}.conv_post.weight_v"] == (1, 1024, 3, 1)


def test_names_map_both_ways() -> None:
    """Our names -> official -> ours; the official ones look like upstream's."""
    names = list(Discriminators(SLIM).state_dict())
    official = [discriminator_to_official(name) for name in names]
    assert [discriminator_from_official(name) for name in official] == names
    assert "discriminators.0.convs.0.weight_g" in official
    assert "discriminators.5.conv_post.weight_v" in official
    assert "discriminators.3.convs.4.bias" in official
