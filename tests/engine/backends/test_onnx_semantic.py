"""The T2S graphs over slots: rows that know nothing of each other, and torch's logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from engine.backends.onnx_semantic import CAPACITY_STEP, OnnxSemantic
from engine.backends.onnx_session import open_session
from engine.backends.torch_semantic import TorchSemanticDecoder
from engine.backends.torch_weights import load_weights
from engine.errors import EngineFailed, TextError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.models.t2s import T2S
from engine.pack import Pack
from engine.types import FloatArray

VOCAB = 65
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


def make(
    pack: Pack, precision: str = "fp32", *, num_slots: int = 9, max_positions: int = 400
) -> OnnxSemantic:
    folder = pack.path / "onnx"
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    weights = GraphWeights(pack)
    records = [manifest.record(graph, precision) for graph in ("prefill", "step")]
    prefill, step = (
        open_session(folder / r.file, threads=1, initializers=weights.load(r.weights))
        for r in records
    )
    config = pack.config.t2s
    return OnnxSemantic(config, prefill, step, num_slots=num_slots, max_positions=max_positions)


def fill(decoder: OnnxSemantic | TorchSemanticDecoder, slot: int, sentence: int) -> FloatArray:
    """Prefill `slot` with a sentence whose lengths and contents follow from its number."""
    generator = np.random.default_rng(sentence)
    phonemes = generator.integers(0, 732, 5 + 13 * sentence)
    return decoder.prefill(slot, phonemes, None, generator.integers(0, VOCAB - 1, sentence))


def play(
    decoder: OnnxSemantic | TorchSemanticDecoder, slots: Sequence[int], steps: int
) -> FloatArray:
    """Decode fixed tokens in `slots` together; logits [steps, B, V]."""
    rows = []
    for step in range(steps):
        rows.append(decoder.decode(slots, np.array([(7 * step) % (VOCAB - 1)] * len(slots))))
    return np.stack(rows)


@PRECISIONS
def test_rows_have_the_same_bits_alone_and_together(micro: Pack, precision: str) -> None:
    """Eight sentences of 5 to 103 positions: in any order and number, each row as if alone."""
    decoder = make(micro, precision)
    alone = []
    for sentence in range(8):
        first = fill(decoder, 0, sentence)
        alone.append((first, play(decoder, [0], 3)[:, 0]))
        decoder.release(0)
    for num_rows in (2, 3, 5, 8):
        slots = list(range(num_rows))[::-1]
        sentences = [(slot + num_rows) % 8 for slot in slots]
        for slot, sentence in zip(slots, sentences, strict=True):
            np.testing.assert_array_equal(fill(decoder, slot, sentence), alone[sentence][0])
        together = play(decoder, slots, 3)
        for row, sentence in enumerate(sentences):
            np.testing.assert_array_equal(together[:, row], alone[sentence][1])
        for slot in slots:
            decoder.release(slot)


@PRECISIONS
def test_a_long_neighbour_changes_no_bit(micro: Pack, precision: str) -> None:
    """A sentence that makes the cache grow in mid-sentence leaves the short one's logits alone."""
    decoder = make(micro, precision)
    fill(decoder, 0, 1)
    expected = play(decoder, [0], 6)[:, 0]
    decoder.release(0)
    fill(decoder, 2, 1)
    first = play(decoder, [2], 2)[:, 0]
    fill(decoder, 0, 20)  # 265 phonemes and 20 tokens
    rest = [decoder.decode([0, 2], np.array([1, (7 * step) % 64]))[1] for step in range(2, 6)]
    np.testing.assert_array_equal(np.stack([*first, *rest]), expected)


def test_logits_are_the_torch_network_s(micro: Pack) -> None:
    """Prefill and steps across a growth of the cache, mixed lengths."""
    torch.set_num_threads(1)
    network = T2S(micro.config.t2s)
    load_weights(network, micro.tensors("t2s"), "t2s")
    reference = TorchSemanticDecoder(network.eval(), num_slots=2, max_positions=400)
    decoder = make(micro)
    for slot, sentence in ((0, 0), (1, 8)):
        expected = fill(reference, slot, sentence)
        np.testing.assert_allclose(fill(decoder, slot, sentence), expected, atol=1e-4)
    np.testing.assert_allclose(play(decoder, [0, 1], 40), play(reference, [0, 1], 40), atol=1e-4)


def test_sixty_greedy_steps_choose_torch_s_tokens(micro: Pack) -> None:
    """Also after an empty prompt and a single phoneme; beyond the first growth of the cache."""
    torch.set_num_threads(1)
    network = T2S(micro.config.t2s)
    load_weights(network, micro.tensors("t2s"), "t2s")
    reference = TorchSemanticDecoder(network.eval(), num_slots=2, max_positions=400)
    for num_phonemes, num_prompt in ((90, 12), (1, 0)):
        spoken = []
        for decoder in (make(micro), reference):
            prompt = np.arange(num_prompt)
            logits = decoder.prefill(1, np.arange(num_phonemes), None, prompt)
            tokens = []
            for _ in range(60):
                tokens.append(int(logits[: VOCAB - 1].argmax()))
                logits = decoder.decode([1], np.array(tokens[-1:]))[0]
            spoken.append(tokens)
        assert spoken[0] == spoken[1]


def test_a_slot_goes_on_from_where_it_was_rewound_to(micro: Pack) -> None:
    """As if the forgotten tokens had never been decoded, to the bit."""
    straight, back = make(micro), make(micro)
    for decoder in (straight, back):
        fill(decoder, 1, 3)
        play(decoder, [1], 4)
    back.decode([1], np.array([50]))
    back.decode([1], np.array([51]))
    back.rewind(1, 2)
    np.testing.assert_array_equal(play(back, [1], 3), play(straight, [1], 3))


def test_a_used_slot_leaves_no_trace(micro: Pack) -> None:
    """After a longer sentence in the same slot, the next has the bits of a fresh decoder."""
    fresh, used = make(micro), make(micro)
    fill(used, 0, 6)
    play(used, [0], 4)
    used.release(0)
    np.testing.assert_array_equal(fill(fresh, 0, 2), fill(used, 0, 2))
    np.testing.assert_array_equal(play(fresh, [0], 4), play(used, [0], 4))


def test_the_cache_grows_in_mid_sentence_and_shrinks_when_idle(micro: Pack) -> None:
    """By CAPACITY_STEP, with what it holds; back when the last slot is released."""
    decoder = make(micro)
    fill(decoder, 0, 9)  # 131 positions
    fill(decoder, 1, 0)
    assert decoder.capacity == 2 * CAPACITY_STEP
    decoder.release(0)
    assert decoder.capacity == 2 * CAPACITY_STEP
    play(decoder, [1], 2)
    decoder.release(1)
    assert decoder.capacity == CAPACITY_STEP


def test_a_crossing_of_the_capacity_keeps_the_past(micro: Pack) -> None:
    """The steps before and after the growth are those of a cache that was large from the start."""
    small, large = make(micro), make(micro)
    fill(large, 8, 20)
    for decoder in (small, large):
        fill(decoder, 0, 8)  # 117 positions: the twelfth step is the first beyond 128
    steps = play(small, [0], 20)
    assert small.capacity == 2 * CAPACITY_STEP
    np.testing.assert_array_equal(steps, play(large, [0], 20))


def test_a_sentence_too_long_for_a_slot_is_refused(micro: Pack) -> None:
    """The message says what does not fit and what to shorten."""
    decoder = make(micro, max_positions=16)
    with pytest.raises(TextError, match=r"12 phonemes and 4 prompt tokens .* 16 positions") as info:
        decoder.prefill(0, np.arange(12), None, np.arange(4))
    assert info.value.code == "text_too_long"


def test_a_full_slot_fails_before_anything_is_written(micro: Pack) -> None:
    """The step after the last position raises, and the neighbour goes on as if alone."""
    none = np.zeros(0, dtype=np.int64)
    decoder, expected = make(micro, max_positions=8), make(micro, max_positions=8)
    decoder.prefill(0, np.arange(7), None, none)
    for one in (decoder, expected):
        one.prefill(1, np.arange(3), None, none)
    decoder.decode([0, 1], np.array([1, 1]))
    expected.decode([1], np.array([1]))
    with pytest.raises(EngineFailed, match="slot 0 is full: 8 positions"):
        decoder.decode([1, 0], np.array([2, 2]))
    np.testing.assert_array_equal(
        decoder.decode([1], np.array([2])), expected.decode([1], np.array([2]))
    )
