"""The judges of adversarial training."""

from __future__ import annotations

import torch
from torch.nn import functional

from engine.models.discriminators import (
    SLIM,
    Discriminators,
    PeriodJudge,
    SpectralJudgeConfig,
    SpectralJudges,
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
