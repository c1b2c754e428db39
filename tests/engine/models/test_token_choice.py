"""Sampling as a network, against sampling on the host."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.models.token_choice import TokenChoice
from engine.sampling import STEPS_WITHOUT_EOS, Choice, Draw, Sampler, choose
from engine.types import SynthesisParams
from tests.sampling_manners import MANNERS

VOCAB = 65


def on_device(logits: np.ndarray, draws: list[Draw]) -> list[Choice]:
    """Choose with the network: a row each."""
    torch.set_num_threads(1)
    params = [draw.params for draw in draws]
    seen = np.zeros(logits.shape, np.bool_)
    for row, draw in enumerate(draws):
        seen[row, draw.seen] = True
    with torch.inference_mode():
        found = TokenChoice()(
            torch.from_numpy(logits),
            torch.from_numpy(np.stack([draw.noise[:] for draw in draws])),
            torch.from_numpy(seen),
            torch.tensor([draw.may_end for draw in draws]),
            torch.tensor([p.repetition_penalty for p in params]),
            torch.tensor([p.top_p for p in params]),
            torch.tensor([p.temperature for p in params]),
            torch.tensor([p.top_k for p in params]),
        )
    return [Choice(*row) for row in zip(*(f.tolist() for f in found), strict=True)]


def draw_of(
    rng: np.random.Generator, params: SynthesisParams, *, may_end: bool = True, num_seen: int = 20
) -> Draw:
    seen = rng.permutation(VOCAB - 1)[:num_seen]  # EOS never is
    return Draw(params, seen, may_end, rng.exponential(size=VOCAB).astype(np.float32))


def check(logits: np.ndarray, draw: Draw) -> Choice:
    """Choose in both places."""
    (found,) = on_device(logits[None], [draw])
    assert found == choose(logits, draw)
    return found


@pytest.mark.parametrize("params", MANNERS)
def test_chooses_what_the_host_chooses(params: SynthesisParams) -> None:
    """Sixty steps of ten sentences, each with its prompt, its history and its end."""
    for sentence in range(10):
        rng = np.random.default_rng(sentence)
        prompt = rng.integers(0, VOCAB - 1, sentence)
        sampler = Sampler(params, prompt, vocab_size=VOCAB)
        while sampler.stopped is None and sampler.step < 60:
            logits = (3 * rng.standard_normal(VOCAB)).astype(np.float32)
            draw = sampler.next_draw(rng.exponential(size=VOCAB).astype(np.float32))
            assert draw.may_end == (sampler.step >= STEPS_WITHOUT_EOS)
            sampler.take(check(logits, draw))


def test_rows_have_their_own_parameters() -> None:
    """A batch gives each row what it gets alone."""
    rng = np.random.default_rng(3)
    logits = (3 * rng.standard_normal((len(MANNERS), VOCAB))).astype(np.float32)
    draws = [draw_of(rng, params, may_end=row > 0) for row, params in enumerate(MANNERS)]
    alone = [check(row, draw) for row, draw in zip(logits, draws, strict=True)]
    assert on_device(logits, draws) == alone


def test_equal_scores_at_the_border_all_stay() -> None:
    """As upstream's comparison with the pivot keeps them: noise decides between all of them."""
    noise = np.ones(VOCAB, np.float32)
    noise[40] = 0.1
    nothing = np.zeros(0, np.int64)
    flat = np.zeros(VOCAB, np.float32)
    assert check(flat, Draw(SynthesisParams(top_k=1), nothing, True, noise)).token == 40
    # Half of all probability is in the first two; the third ties with the second, and stays too.
    steps = np.full(VOCAB, -100.0, np.float32)
    steps[[7, 9, 40, 50]] = np.log(4.0), 0.0, 0.0, 0.0
    narrow = Draw(SynthesisParams(top_p=0.75), nothing, True, noise)
    assert check(steps, narrow).token == 40


@pytest.mark.parametrize(("top_p", "token"), [(0.01, 10), (0.74, 10), (0.76, 11), (0.93, 12)])
def test_the_token_that_crosses_top_p_is_dropped(top_p: float, token: int) -> None:
    """The likeliest always stays; the noise asks for the last one that does."""
    logits = np.full(VOCAB, -200.0, np.float32)
    logits[10:14] = np.log(np.array([0.5, 0.25, 0.17, 0.08]))
    noise = np.full(VOCAB, 1.0, np.float32)
    noise[10:14] = 1.0, 1e-3, 1e-6, 1e-9
    draw = Draw(SynthesisParams(top_p=top_p), np.zeros(0, np.int64), True, noise)
    assert check(logits, draw).token == token


@pytest.mark.parametrize("may_end", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_told(bad: float, may_end: bool) -> None:
    """Of one token or of all; a single -inf is a token that cannot be, as on the host."""
    rng = np.random.default_rng(1)
    for place in (0, 30, VOCAB - 1):
        logits = rng.standard_normal(VOCAB).astype(np.float32)
        logits[place] = bad
        draw = draw_of(rng, SynthesisParams(), may_end=may_end)
        (found,) = on_device(logits[None], [draw])
        is_ignored = bad == -np.inf or (place == VOCAB - 1 and not may_end)
        assert found.is_finite == choose(logits, draw).is_finite == is_ignored
        if is_ignored:
            assert found == choose(logits, draw)
    logits = np.full(VOCAB, bad, np.float32)
    draw = draw_of(rng, SynthesisParams(), may_end=may_end)
    assert not on_device(logits[None], [draw])[0].is_finite
    assert not choose(logits, draw).is_finite
