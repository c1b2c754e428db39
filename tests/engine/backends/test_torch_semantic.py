"""The torch T2S over slots: golden sentences, and rows that know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.backends.torch_semantic import TorchSemanticDecoder
from engine.checkpoint import FileKind, read_official
from engine.errors import EngineFailed, TextError
from engine.model_config import T2SConfig
from engine.models.official_t2s import config_from_official, weights_from_official
from engine.models.t2s import T2S
from engine.sampling import Sampler
from engine.types import FloatArray, IntArray, SynthesisParams

# Full widths, because they choose the kernels that sum products; few layers, for speed.
WIDE = T2SConfig(num_layers=2)
TINY = T2SConfig(
    num_layers=2, hidden_dim=32, num_heads=4, ffn_dim=64, num_phonemes=50, vocab_size=40, bert_dim=6
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(config: T2SConfig, num_slots: int = 9, max_positions: int = 64) -> TorchSemanticDecoder:
    torch.manual_seed(1)
    return TorchSemanticDecoder(
        T2S(config).eval(), num_slots=num_slots, max_positions=max_positions
    )


def fill(decoder: TorchSemanticDecoder, slot: int, sentence: int, vocab: int) -> FloatArray:
    """Prefill `slot` with a sentence whose lengths and contents follow from its number."""
    generator = np.random.default_rng(sentence)
    phonemes = generator.integers(0, 50, 5 + 3 * sentence)
    return decoder.prefill(slot, phonemes, None, generator.integers(0, vocab - 1, sentence))


def play(decoder: TorchSemanticDecoder, slots: Sequence[int], steps: int, vocab: int) -> FloatArray:
    """Decode fixed tokens in `slots` together; logits [steps, B, V]."""
    rows = []
    for step in range(steps):
        rows.append(decoder.decode(slots, np.array([(7 * step) % (vocab - 1)] * len(slots))))
    return np.stack(rows)


@pytest.mark.parametrize("config", [WIDE, TINY], ids=["full widths", "tiny"])
def test_rows_have_the_same_bits_alone_and_together(config: T2SConfig) -> None:
    """For 1 to 9 rows, every row's logits equal, bit for bit, those it has alone."""
    vocab = config.vocab_size
    decoder = make(config)
    alone = []
    for sentence in range(9):
        first = fill(decoder, 0, sentence, vocab)
        alone.append((first, play(decoder, [0], 3, vocab)[:, 0]))
        decoder.release(0)
    for num_rows in (2, 3, 4, 5, 8, 9):
        slots = list(range(num_rows))[::-1]
        sentences = [(s + num_rows) % 9 for s in slots]
        for slot, sentence in zip(slots, sentences, strict=True):
            np.testing.assert_array_equal(fill(decoder, slot, sentence, vocab), alone[sentence][0])
        together = play(decoder, slots, 3, vocab)
        for row, sentence in enumerate(sentences):
            np.testing.assert_array_equal(together[:, row], alone[sentence][1])
        for slot in slots:
            decoder.release(slot)


@pytest.mark.full_size
def test_a_full_size_network_keeps_rows_apart() -> None:
    """24 layers of random weights: eight sentences together give the bits of each alone."""
    decoder = make(T2SConfig(), num_slots=8, max_positions=128)
    for slot in range(8):
        fill(decoder, slot, slot, 1025)
    together = play(decoder, range(8), 3, 1025)
    assert np.isfinite(together).all()
    for slot in range(8):
        decoder.release(slot)
        fill(decoder, slot, slot, 1025)
        np.testing.assert_array_equal(play(decoder, [slot], 3, 1025)[:, 0], together[:, slot])


def test_a_row_does_not_notice_others_come_and_go() -> None:
    """Rows that join, leave and reuse a slot in between leave no trace."""
    alone = make(TINY)
    fill(alone, 0, 2, 40)
    expected = play(alone, [0], 3, 40)[:, 0]
    crowded = make(TINY)
    fill(crowded, 4, 2, 40)
    fill(crowded, 1, 5, 40)
    first = crowded.decode([1, 4], np.array([3, 0]))
    crowded.release(1)
    fill(crowded, 1, 7, 40)
    fill(crowded, 0, 1, 40)
    second = crowded.decode([4, 0, 1], np.array([7, 1, 1]))
    third = crowded.decode([4], np.array([14]))
    np.testing.assert_array_equal(np.stack([first[1], second[0], third[0]]), expected)


def test_without_bert_features_zeros_are_used() -> None:
    """None and a block of zeros are the same (the projection's bias stays)."""
    decoder = make(TINY)
    ids, none = np.arange(6), np.zeros(0, dtype=np.int64)
    zeros = np.zeros((TINY.bert_dim, 6), dtype=np.float32)
    np.testing.assert_array_equal(
        decoder.prefill(0, ids, None, none), decoder.prefill(1, ids, zeros, none)
    )


def test_a_sentence_too_long_for_a_slot_is_refused() -> None:
    """The message says what does not fit and what to shorten."""
    decoder = make(TINY, max_positions=16)
    with pytest.raises(TextError, match=r"12 phonemes and 4 prompt tokens .* 16 positions") as info:
        decoder.prefill(0, np.arange(12), None, np.arange(4))
    assert info.value.code == "text_too_long"


def test_a_full_slot_fails_before_anything_is_written() -> None:
    """The step after the last position raises, and the neighbour can go on."""
    decoder = make(TINY, max_positions=8)
    none = np.zeros(0, dtype=np.int64)
    decoder.prefill(0, np.arange(7), None, none)
    decoder.prefill(1, np.arange(3), None, none)
    decoder.decode([0, 1], np.array([1, 1]))
    with pytest.raises(EngineFailed, match="slot 0 is full: 8 positions"):
        decoder.decode([1, 0], np.array([2, 2]))
    expected = make(TINY, max_positions=8)
    expected.prefill(1, np.arange(3), None, none)
    expected.decode([1], np.array([1]))
    np.testing.assert_array_equal(
        decoder.decode([1], np.array([2])), expected.decode([1], np.array([2]))
    )


@pytest.mark.parity
def test_two_sentences_in_one_batch_equal_upstream(fixtures_dir: Path) -> None:
    """Upstream's batch (left-padded, drops the last token) and its single run, from our slots."""
    found = read_official(next(fixtures_dir.glob("tiny_gpt*.ckpt")), FileKind.GPT)
    config = config_from_official(found.tensors, found.config)
    model = T2S(config)
    weights = weights_from_official(found.tensors, config)
    model.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in weights.items()})
    inputs, data = np.load(fixtures_dir / "t2s.npz"), np.load(fixtures_dir / "t2s_run.npz")
    prompt = inputs["prompt"][0]
    decoder = TorchSemanticDecoder(model.eval(), num_slots=3, max_positions=128)
    logits = [
        decoder.prefill(2, inputs["phones"][0], inputs["bert"][0], prompt),
        decoder.prefill(0, data["batch_phones2"][0], data["batch_bert2"][0], prompt),
    ]
    num_tokens = len(data["single2_y"]) - len(prompt)
    spoken = decode_greedy(decoder, [2, 0], np.stack(logits), prompt, num_tokens, config.vocab_size)
    np.testing.assert_array_equal(spoken[0][:-1], data["batch_y0"])
    np.testing.assert_array_equal(spoken[1][:-1], data["batch_y1"])
    np.testing.assert_array_equal(spoken[1], data["single2_y"])


def decode_greedy(
    decoder: TorchSemanticDecoder,
    slots: Sequence[int],
    logits: FloatArray,
    prompt: IntArray,
    num_tokens: int,
    vocab_size: int,
) -> list[IntArray]:
    """Return prompt and tokens of each row."""
    params = SynthesisParams(top_k=1)
    samplers = [Sampler(params, prompt, vocab_size=vocab_size) for _ in slots]
    noise = np.ones(vocab_size, dtype=np.float32)
    spoken = [list(prompt) for _ in slots]
    for _ in range(num_tokens):
        tokens = [s.draw(row, noise) for s, row in zip(samplers, logits, strict=True)]
        for row, token in zip(spoken, tokens, strict=True):
            assert token is not None
            row.append(token)
        logits = decoder.decode(slots, np.array(tokens))
    return [np.array(row) for row in spoken]
