"""The Chinese BERT from a pack's settings against upstream's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import FileKind, read_official
from engine.errors import CheckpointError
from engine.models.bert import Bert
from engine.models.official_reference import bert_from_official
from engine.text.character_vocab import CharacterVocab
from tests.numerics import STAGE, assert_close


@pytest.fixture(scope="module")
def golden(fixtures_dir: Path) -> Bert:
    torch.set_num_threads(1)
    file = read_official(fixtures_dir / "tiny_bert", FileKind.BERT)
    config, weights = bert_from_official(file.tensors, file.config or {})
    model = Bert(config)
    model.network.load_state_dict({n: torch.from_numpy(w).float() for n, w in weights.items()})
    return model


@pytest.mark.parity
@torch.inference_mode()
def test_rows_equal_upstream(golden: Bert, fixtures_dir: Path) -> None:
    """hidden_states[-3], then one row per character repeated per phoneme."""
    data = np.load(fixtures_dir / "front.npz")
    rows = golden(torch.from_numpy(data["bert_ids"]))
    assert_close(rows, data["bert_hidden"], STAGE, "bert_hidden")
    per_phoneme = np.repeat(rows[0, 1:-1].numpy(), data["word2ph"], axis=0).T
    assert_close(per_phoneme, data["bert_phone_level"], STAGE, "bert_phone_level")


@pytest.mark.parity
def test_layers_above_the_one_read_are_not_kept(golden: Bert, fixtures_dir: Path) -> None:
    """Four layers, hidden_states[-3]: two remain; the language-model head is gone."""
    file = read_official(fixtures_dir / "tiny_bert", FileKind.BERT)
    num_layers = (file.config or {})["num_hidden_layers"]
    assert len(golden.network.encoder.layer) == num_layers - 2
    _, weights = bert_from_official(file.tensors, file.config or {})
    assert not any(name.startswith("cls.") for name in weights)
    assert not any(f"layer.{num_layers - 2}." in name for name in weights)


def test_too_few_layers_are_refused() -> None:
    """The message says how many there are and how many are needed."""
    weights = {"bert.embeddings.word_embeddings.weight": np.zeros((4, 2))}
    with pytest.raises(CheckpointError, match=r"has 1 layers, hidden_states\[-3\] needs at least"):
        bert_from_official(weights, {"num_hidden_layers": 1})


def test_one_token_per_character() -> None:
    """Unknown characters become [UNK], capitals are lowered, the marks stand around."""
    vocab = CharacterVocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "你", "好", "a"])
    assert vocab.encode("你A好嗨") == [2, 4, 6, 5, 1, 3]
    assert vocab.encode("") == [2, 3]


def test_a_vocabulary_without_the_marks_is_refused() -> None:
    """The message names the missing ones."""
    with pytest.raises(CheckpointError, match=r"has no \[CLS\], \[SEP\]"):
        CharacterVocab(["[UNK]", "你"])
