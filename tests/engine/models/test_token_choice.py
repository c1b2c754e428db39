"""Sampling as a network, against sampling on the host."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.models.token_choice import TokenChoice
from engine.sampling import STEPS_WITHOUT_EOS, Sampler, StopReason
from engine.types import SynthesisParams

VOCAB = 65
PARAMS = [
    SynthesisParams(),
    SynthesisParams(top_k=1),
    SynthesisParams(top_k=5, top_p=0.8, temperature=0.6, repetition_penalty=2.0),
    SynthesisParams(top_k=100, top_p=0.3, temperature=1.5, repetition_penalty=1.0),
]


def draw(
    logits: np.ndarray, noise: np.ndarray, seen: np.ndarray, params: SynthesisParams, step: int
) -> tuple[int, int]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        token, best = TokenChoice()(
            torch.from_numpy(logits)[None],
            torch.from_numpy(noise)[None],
            torch.from_numpy(seen)[None],
            torch.tensor([step >= STEPS_WITHOUT_EOS]),
            torch.tensor([params.repetition_penalty]),
            torch.tensor([params.top_p]),
            torch.tensor([params.temperature]),
            torch.tensor([params.top_k]),
        )
    return int(token), int(best)


@pytest.mark.parametrize("params", PARAMS)
def test_draws_what_the_host_draws(params: SynthesisParams) -> None:
    """Sixty steps of ten sentences, each with its prompt, its history and its end."""
    for sentence in range(10):
        rng = np.random.default_rng(sentence)
        prompt = rng.integers(0, VOCAB - 1, sentence)
        sampler = Sampler(params, prompt, vocab_size=VOCAB)
        seen = np.zeros(VOCAB, np.bool_)
        seen[prompt] = True
        while sampler.stopped is None and sampler.step < 60:
            logits = (3 * rng.standard_normal(VOCAB)).astype(np.float32)
            noise = rng.exponential(size=VOCAB).astype(np.float32)
            token, best = draw(logits, noise, seen, params, sampler.step)
            expected = sampler.draw(logits, noise)
            if sampler.stopped is StopReason.EOS:
                assert VOCAB - 1 in (token, best)
                break
            assert token == expected
            seen[token] = True


def test_rows_have_their_own_parameters() -> None:
    """A batch gives each row what it gets alone."""
    rng = np.random.default_rng(3)
    logits = (3 * rng.standard_normal((4, VOCAB))).astype(np.float32)
    noise = rng.exponential(size=(4, VOCAB)).astype(np.float32)
    seen = rng.random((4, VOCAB)) < 0.3
    alone = [draw(logits[i], noise[i], seen[i], PARAMS[i], 20) for i in range(4)]
    with torch.inference_mode():
        tokens, best = TokenChoice()(
            torch.from_numpy(logits),
            torch.from_numpy(noise),
            torch.from_numpy(seen),
            torch.ones(4, dtype=torch.bool),
            torch.tensor([p.repetition_penalty for p in PARAMS]),
            torch.tensor([p.top_p for p in PARAMS]),
            torch.tensor([p.temperature for p in PARAMS]),
            torch.tensor([p.top_k for p in PARAMS]),
        )
    assert list(zip(tokens.tolist(), best.tolist(), strict=True)) == alone


def test_equal_scores_at_the_border_all_stay() -> None:
    """As upstream's comparison with the pivot keeps them: noise decides between all of them."""
    logits = np.zeros(VOCAB, np.float32)
    params = SynthesisParams(top_k=1, top_p=1.0)
    noise = np.ones(VOCAB, np.float32)
    noise[40] = 0.1
    assert draw(logits, noise, np.zeros(VOCAB, np.bool_), params, 20)[0] == 40
