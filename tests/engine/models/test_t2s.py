"""The T2S network against the public implementation's arrays and against itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checkpoint import FileKind, read_official
from engine.model_config import T2SConfig
from engine.models.official_t2s import config_from_official, weights_from_official
from engine.models.t2s import IGNORED, T2S, CacheRows, prefix_mask, training_targets
from engine.sampling import Sampler, StopReason
from engine.types import SynthesisParams

TINY = T2SConfig(
    num_layers=2, hidden_dim=32, num_heads=4, ffn_dim=64, num_phonemes=50, vocab_size=40, bert_dim=6
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def golden_model(fixtures_dir: Path) -> T2S:
    found = read_official(next(fixtures_dir.glob("tiny_gpt*.ckpt")), FileKind.GPT)
    config = config_from_official(found.tensors, found.config)
    model = T2S(config)
    weights = weights_from_official(found.tensors, config)
    model.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in weights.items()})
    return model.eval()


@pytest.fixture(scope="module")
def model() -> T2S:
    torch.manual_seed(5)
    return T2S(TINY).eval()


def step_all(model: T2S, cache: CacheRows, position: int, token: int) -> tuple[Tensor, CacheRows]:
    """Append a token to a batch of one whose past is entirely valid; return the grown cache."""
    mask = torch.zeros(1, cache.keys[0].shape[2])
    logits, new = model.step(
        torch.tensor([token]), torch.tensor([position]), mask, cache.keys, cache.values
    )
    grown = CacheRows(
        [torch.cat(pair, 2) for pair in zip(cache.keys, new.keys, strict=True)],
        [torch.cat(pair, 2) for pair in zip(cache.values, new.values, strict=True)],
    )
    return logits, grown


def close(actual: Tensor, expected: np.ndarray, name: str) -> None:
    """Relative to the array's largest value, 1e-5."""
    error = np.abs(actual.detach().numpy() - expected).max() / np.abs(expected).max()
    assert error <= 1e-5, f"{name}: relative error {error:.2e}"


def merge_heads(rows: Tensor) -> Tensor:
    return rows.transpose(1, 2).flatten(2)


@pytest.mark.parity
@torch.no_grad()
def test_prefill_and_steps_equal_upstream(golden_model: T2S, fixtures_dir: Path) -> None:
    """Transformer input, mask, hidden states, cache rows, then 20 rows of logits."""
    data = np.load(fixtures_dir / "t2s.npz")
    phones, bert, prompt = (torch.from_numpy(data[k]) for k in ("phones", "bert", "prompt"))
    embedded = golden_model.embed(phones, bert, prompt)
    close(embedded, data["xy_pos"], "xy_pos")
    mask = prefix_mask(phones.shape[1], embedded.shape[1], embedded)
    np.testing.assert_array_equal(mask.numpy() != 0, data["mask"])
    hidden, cache = golden_model.encode(phones, bert, prompt)
    close(hidden, data["prefill_hidden"], "prefill_hidden")
    for place, index in (("first", 0), ("last", -1)):
        close(merge_heads(cache.keys[index]), data[f"k_cache_{place}"], f"k {place}")
        close(merge_heads(cache.values[index]), data[f"v_cache_{place}"], f"v {place}")
    logits = [golden_model.head(hidden[:, -1])]
    for index, token in enumerate(data["forced_tokens"][:-1]):
        row, cache = step_all(golden_model, cache, prompt.shape[1] + index, int(token))
        logits.append(row)
    close(torch.cat(logits), data["logits"], "logits")


def run(
    model: T2S, phones: Tensor, bert: Tensor, prompt: Tensor, sampler: Sampler, noise: np.ndarray
) -> list[int]:
    """Decode until the sampler stops, a row of noise for each step."""
    logits, cache = model.prefill(phones, bert, prompt)
    tokens: list[int] = []
    for row_noise in noise:
        token = sampler.draw(logits[0].numpy(), row_noise)
        if token is None:
            break
        tokens.append(token)
        if sampler.stopped is not None:
            break
        logits, cache = step_all(model, cache, prompt.shape[1] + len(tokens) - 1, token)
    return tokens


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("name", ["a", "b", "c", "greedy", "eos_drawn", "eos_argmax"])
def test_sampled_sentences_equal_upstream(name: str, golden_model: T2S, fixtures_dir: Path) -> None:
    """With the recorded noise, the token sequences and the reason of the stop are upstream's."""
    inputs, data = np.load(fixtures_dir / "t2s.npz"), np.load(fixtures_dir / "t2s_run.npz")
    top_k, top_p, temperature, penalty, early_stop = data[f"{name}_params"].tolist()
    params = SynthesisParams(
        top_k=int(top_k), top_p=top_p, temperature=temperature, repetition_penalty=penalty
    )
    prompt = inputs["prompt"][0]
    # Upstream stops once more than `early_stop` tokens were made.
    sampler = Sampler(
        params, prompt, vocab_size=golden_model.config.vocab_size, max_tokens=int(early_stop) + 1
    )
    head = golden_model.head.weight.detach()
    eos_row = head[-1].clone()
    if name.startswith("eos"):
        head[-1] = torch.from_numpy(data["eos_row"])
    try:
        tokens = run(
            golden_model,
            torch.from_numpy(inputs["phones"]),
            torch.from_numpy(inputs["bert"]),
            torch.from_numpy(inputs["prompt"]),
            sampler,
            data[f"{name}_noise"],
        )
    finally:
        head[-1] = eos_row
    np.testing.assert_array_equal(np.concatenate((prompt, tokens)), data[f"{name}_y"])
    ended = StopReason.EOS if name.startswith("eos") else StopReason.LENGTH
    assert sampler.stopped is ended


@pytest.mark.parity
@torch.no_grad()
def test_a_sentence_without_a_prompt_equals_upstream(golden_model: T2S, fixtures_dir: Path) -> None:
    """No prompt tokens: the last phoneme's row predicts the first token."""
    inputs, data = np.load(fixtures_dir / "t2s.npz"), np.load(fixtures_dir / "t2s_run.npz")
    expected = data["noprompt_y"]
    vocab_size = golden_model.config.vocab_size
    empty = np.zeros(0, dtype=np.int64)
    sampler = Sampler(
        SynthesisParams(top_k=1), empty, vocab_size=vocab_size, max_tokens=len(expected)
    )
    tokens = run(
        golden_model,
        torch.from_numpy(inputs["phones"]),
        torch.from_numpy(inputs["bert"]),
        torch.from_numpy(empty[None]),
        sampler,
        np.ones((len(expected), vocab_size), dtype=np.float32),
    )
    np.testing.assert_array_equal(tokens, expected)


@torch.no_grad()
def test_steps_equal_one_whole_forward(model: T2S) -> None:
    """Token by token with the cache = all tokens at once, for every split of prompt and steps."""
    phones, bert = torch.arange(1, 8)[None], torch.randn(1, TINY.bert_dim, 7)
    tokens = torch.randint(0, TINY.vocab_size, (1, 9))
    whole = model.forward_train(phones, torch.tensor([7]), bert, tokens, torch.tensor([9]))
    for prompt_len in (0, 1, 4):
        logits, cache = model.prefill(phones, bert, tokens[:, :prompt_len])
        for position in range(prompt_len, 9):
            torch.testing.assert_close(logits, whole[:, position], rtol=1e-5, atol=1e-5)
            logits, cache = step_all(model, cache, position, int(tokens[0, position]))
        torch.testing.assert_close(logits, whole[:, 9], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_masked_buffer_equals_a_growing_past(model: T2S) -> None:
    """Rubbish in masked positions of a fixed buffer changes nothing."""
    phones, bert = torch.arange(1, 6)[None], torch.randn(1, TINY.bert_dim, 5)
    _, cache = model.prefill(phones, bert, torch.tensor([[3, 4]]))
    expected, _ = step_all(model, cache, 2, 9)
    mask = torch.full((1, 20), -math.inf)
    mask[:, :7] = 0
    buffers = CacheRows(
        [torch.cat((k, torch.full((1, 4, 13, 8), 1e6)), 2) for k in cache.keys],
        [torch.cat((v, torch.full((1, 4, 13, 8), 1e6)), 2) for v in cache.values],
    )
    logits, _ = model.step(torch.tensor([9]), torch.tensor([2]), mask, buffers.keys, buffers.values)
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_training_rows_are_independent_of_padding(model: T2S) -> None:
    """A short row in a padded batch gives the logits it gives alone."""
    phones = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 30, 30]])
    bert = torch.randn(2, TINY.bert_dim, 5)
    both = model.forward_train(phones, torch.tensor([5, 3]), bert, tokens, torch.tensor([4, 2]))
    alone = model.forward_train(
        phones[1:, :3], torch.tensor([3]), bert[1:, :, :3], tokens[1:, :2], torch.tensor([2])
    )
    torch.testing.assert_close(both[1:, :3], alone, rtol=1e-5, atol=1e-5)


def test_layer_norms_have_upstream_s_epsilon(model: T2S) -> None:
    """1e-6 in place of 1e-5 would stay below the tolerance of the golden arrays."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-5] * (2 * TINY.num_layers)


def test_training_targets_end_with_eos_once() -> None:
    """Tokens, then EOS, then nothing."""
    targets = training_targets(torch.tensor([[1, 2, 3], [4, 9, 9]]), torch.tensor([3, 1]), 39)
    assert targets.tolist() == [[1, 2, 3, 39], [4, 39, IGNORED, IGNORED]]


def test_a_padded_batch_trains() -> None:
    """Gradients are finite and the loss of a few tokens falls."""
    torch.manual_seed(0)
    net = T2S(TINY, dropout=0.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    phones = torch.randint(0, 50, (2, 6))
    tokens = torch.randint(0, 39, (2, 5))
    phoneme_lens, token_lens = torch.tensor([6, 4]), torch.tensor([5, 3])
    targets = training_targets(tokens, token_lens, TINY.eos)
    losses = []
    for _ in range(30):
        logits = net.forward_train(
            phones, phoneme_lens, torch.zeros(2, TINY.bert_dim, 6), tokens, token_lens
        )
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
