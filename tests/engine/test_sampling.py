"""The sampler against upstream's recorded draws, and its rules one by one."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineFailed, InvalidParameter
from engine.noise import exponential
from engine.sampling import (
    STEPS_WITHOUT_EOS,
    Sampler,
    StopReason,
    filter_candidates,
    penalize,
)
from engine.types import FloatArray, SynthesisParams

EOS = 128


def no_prompt() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


def one_hot(token: int, height: float = 50.0, vocab_size: int = EOS + 1) -> FloatArray:
    logits = np.zeros(vocab_size, dtype=np.float32)
    logits[token] = height
    return logits


def ones(vocab_size: int = EOS + 1) -> FloatArray:
    return np.ones(vocab_size, dtype=np.float32)


def test_penalty_counts_a_repeated_token_once() -> None:
    """A token seen twice is penalised like one seen once; the sign decides the direction."""
    logits = np.array([2.0, -2.0, 3.0], dtype=np.float32)
    sampler = Sampler(
        SynthesisParams(repetition_penalty=2.0),
        np.array([0, 0, 1]),
        vocab_size=3,
    )
    row = penalize(logits, sampler._seen[: sampler._num_seen], 2.0)
    np.testing.assert_array_equal(row, [1.0, -4.0, 3.0])
    np.testing.assert_array_equal(logits, [2.0, -2.0, 3.0])


def test_the_prompt_is_penalised() -> None:
    """A prompt token loses against a slightly weaker one that was not spoken."""
    logits = one_hot(4, 10.0) + one_hot(9, 9.0)
    greedy = SynthesisParams(top_k=1)
    assert Sampler(greedy, no_prompt(), vocab_size=129).draw(logits, ones()) == 4
    assert Sampler(greedy, np.array([4]), vocab_size=129).draw(logits, ones()) == 9


def test_top_p_is_applied_before_the_temperature() -> None:
    """At temperature 1 the nucleus of 0.5 is one token; dividing first would let more in."""
    row = np.log(np.array([0.49, 0.3, 0.21], dtype=np.float32))
    kept, _ = filter_candidates(row, SynthesisParams(top_p=0.5, temperature=0.05))
    np.testing.assert_array_equal(kept, [0])
    kept, _ = filter_candidates(row, SynthesisParams(top_p=0.8, temperature=0.05))
    np.testing.assert_array_equal(kept, [0, 1])


def test_top_k_keeps_ties() -> None:
    """Every score equal to the k-th largest stays."""
    row = np.array([1.0, 3.0, 1.0, 2.0, 2.0], dtype=np.float32)
    kept, probabilities = filter_candidates(row, SynthesisParams(top_k=2))
    np.testing.assert_array_equal(kept, [1, 3, 4])
    assert probabilities.sum() == pytest.approx(1.0)


def test_eos_cannot_come_in_the_first_steps() -> None:
    """EOS is certain, yet eleven tokens are drawn before it may stop the sentence."""
    sampler = Sampler(SynthesisParams(), no_prompt(), vocab_size=129)
    for _ in range(STEPS_WITHOUT_EOS):
        assert sampler.draw(one_hot(EOS), ones()) is not None
    assert sampler.stopped is None
    assert sampler.draw(one_hot(EOS), ones()) is None
    assert sampler.stopped is StopReason.EOS


def test_argmax_eos_stops_although_another_token_was_drawn() -> None:
    """The arg max of the penalised logits ends the sentence and the drawn token is dropped."""
    sampler = Sampler(SynthesisParams(repetition_penalty=1.0), no_prompt(), vocab_size=129)
    for _ in range(STEPS_WITHOUT_EOS):
        sampler.draw(one_hot(1), ones())
    logits = one_hot(EOS, 5.0) + one_hot(7, 4.9)
    noise = ones()
    noise[EOS] = 1e9  # the draw itself goes to 7
    assert sampler.draw(logits, noise) is None
    assert sampler.stopped is StopReason.EOS


def test_penalty_can_make_eos_the_argmax() -> None:
    """EOS is compared with penalised scores: a repeated favourite gives way to it."""
    sampler = Sampler(SynthesisParams(repetition_penalty=1.5), np.array([7]), vocab_size=129)
    for _ in range(STEPS_WITHOUT_EOS):
        sampler.draw(one_hot(7), ones())
    noise = ones()
    noise[EOS] = 1e9  # the draw itself goes to 7
    assert sampler.draw(one_hot(7, 6.0) + one_hot(EOS, 5.0), noise) is None


def test_a_drawn_eos_stops_although_another_token_was_likelier() -> None:
    """The draw alone ends the sentence too."""
    sampler = Sampler(SynthesisParams(repetition_penalty=1.0), no_prompt(), vocab_size=129)
    for _ in range(STEPS_WITHOUT_EOS):
        sampler.draw(one_hot(1), ones())
    noise = ones()
    noise[7] = 1e9
    assert sampler.draw(one_hot(7, 5.0) + one_hot(EOS, 4.9), noise) is None
    assert sampler.stopped is StopReason.EOS


def test_the_length_cap_keeps_the_last_token() -> None:
    """The token drawn at the cap is spoken, and then it is over."""
    sampler = Sampler(SynthesisParams(), no_prompt(), vocab_size=129, max_tokens=2)
    assert sampler.draw(one_hot(1), ones()) == 1
    assert sampler.stopped is None
    assert sampler.draw(one_hot(2), ones()) == 2
    assert sampler.stopped is StopReason.LENGTH


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(bad: float) -> None:
    """No token is invented from NaN."""
    sampler = Sampler(SynthesisParams(), no_prompt(), vocab_size=129)
    with pytest.raises(EngineFailed, match="not finite"):
        sampler.draw(one_hot(3, bad), ones())


def test_a_prompt_of_another_codebook_is_refused() -> None:
    """The message names the range and the way out."""
    with pytest.raises(InvalidParameter, match=r"ids from 0 to 128; enrol the voice again"):
        Sampler(SynthesisParams(), np.array([3, 400]), vocab_size=129)


def test_draws_follow_the_probabilities() -> None:
    """argmax(p / Exp(1)) is a draw from p: frequencies over 20000 draws agree."""
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    kept, probabilities = filter_candidates(row, SynthesisParams())
    draws = [kept[(probabilities / exponential(2, 0, step, 4)).argmax()] for step in range(20000)]
    np.testing.assert_allclose(np.bincount(draws) / 20000, np.exp(row), atol=0.012)


@pytest.mark.parametrize("params", [SynthesisParams(), SynthesisParams(top_p=0.8)])
def test_a_draw_is_fast(params: SynthesisParams) -> None:
    """The best of many draws from a 1025-token vocabulary takes at most 60 us."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=1025).astype(np.float32)
    logits[1024] = -50
    noise = exponential(0, 0, 0, 1025)
    sampler = Sampler(params, generator.integers(0, 1024, 200), vocab_size=1025, max_tokens=10**6)
    best = np.inf
    for _ in range(2000):
        start = time.perf_counter()
        sampler.draw(logits, noise)
        best = min(best, time.perf_counter() - start)
    assert best < 60e-6


@pytest.mark.parity
def test_probabilities_and_token_equal_upstream(fixtures_dir: Path) -> None:
    """Penalty, top-p, temperature, top-k and softmax of single rows, then the draw."""
    data = np.load(fixtures_dir / "t2s_sample.npz")
    cases = sorted(name.removesuffix("_params") for name in data if name.endswith("_params"))
    assert cases
    for case in cases:
        top_k, top_p, temperature, penalty = data[f"{case}_params"].tolist()
        params = SynthesisParams(
            top_k=int(top_k),
            top_p=top_p,
            temperature=max(temperature, 0.01),  # one case is colder than we allow, and greedy
            repetition_penalty=penalty,
        )
        row = penalize(data[f"{case}_logits"], np.unique(data[f"{case}_previous"]), penalty)
        kept, probabilities = filter_candidates(row, params)
        whole = np.zeros(len(row), dtype=np.float32)
        whole[kept] = probabilities
        np.testing.assert_allclose(whole, data[f"{case}_probs"], rtol=1e-5, atol=1e-7, err_msg=case)
        token = kept[(probabilities / data[f"{case}_noise"][kept]).argmax()]
        assert token == int(data[f"{case}_token"][0]), case
