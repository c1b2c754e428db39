"""g2pW, driven through a real ONNX graph of its signature with weights written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.errors import BackendUnavailable
from engine.text.symbols import symbol_table
from engine.text.zh.frontend import ChineseFrontend
from engine.text.zh.g2p import Pronouncer
from engine.text.zh.g2pw import G2pw
from engine.text.zh.words import Token

pytest.importorskip("opencc")

_VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"這行很長得小心條河一只為我們", ",", "."]
_POLYPHONIC = [
    ("行", "ㄏㄤ2"),
    ("行", "ㄒㄧㄥ2"),
    ("長", "ㄔㄤ2"),
    ("長", "ㄓㄤ3"),
    ("得", "ㄉㄜ5"),
    ("得", "ㄉㄟ3"),
    ("一", "ㄧ4"),
]
_MONOPHONIC = [("很", "ㄏㄣ3"), ("條", "ㄊㄧㄠ2"), ("似", "ㄙ4")]
_PINYIN = {
    "ㄏㄤ": "hang", "ㄒㄧㄥ": "xing", "ㄔㄤ": "chang", "ㄓㄤ": "zhang", "ㄉㄜ": "de",
    "ㄉㄟ": "dei", "ㄧ": "yi", "ㄏㄣ": "hen", "ㄊㄧㄠ": "tiao", "ㄙ": "si",
}  # fmt: skip
_LABELS = sorted({reading for _, reading in _POLYPHONIC})


def _model(*, shares_text: bool = False) -> onnx.ModelProto:
    """Score a reading by the token before the queried one, then mask: enough to be in context.

    Args:
        shares_text: Accept one row of text for any number of queries.
    """
    per_row = [
        helper.make_node("Unsqueeze", ["before", "axis"], ["column"]),
        helper.make_node("GatherElements", ["input_ids", "column"], ["token"], axis=1),
        helper.make_node("Squeeze", ["token", "axis"], ["tokens"]),
    ]
    first_row = [
        helper.make_node("Gather", ["input_ids", "origin"], ["row"], axis=0),
        helper.make_node("Squeeze", ["row", "zeroth"], ["flat"]),
        helper.make_node("Gather", ["flat", "before"], ["tokens"]),
    ]
    votes = np.zeros((len(_VOCABULARY), len(_LABELS)), np.float32)
    for before, reading in [("這", "ㄏㄤ2"), ("很", "ㄔㄤ2"), ("我", "ㄉㄟ3"), ("得", "ㄒㄧㄥ2")]:
        votes[_VOCABULARY.index(before), _LABELS.index(reading)] = 5.0
    votes[2] = 1.0  # after [CLS] all are alike, the mask decides
    nodes = [
        helper.make_node("Sub", ["position_ids", "one"], ["before"]),
        *(first_row if shares_text else per_row),
        helper.make_node("Gather", ["votes", "tokens"], ["logits"]),
        helper.make_node("Add", ["logits", "floor"], ["raised"]),
        helper.make_node("Mul", ["raised", "phoneme_mask"], ["masked"]),
        # Every input of the real model is bound; those the sum needs not are multiplied by zero.
        helper.make_node("ReduceSum", ["attention_mask"], ["seen"], keepdims=0),
        helper.make_node("ReduceSum", ["token_type_ids"], ["types"], keepdims=0),
        helper.make_node("ReduceSum", ["char_ids"], ["chars"], keepdims=0),
        helper.make_node("Sum", ["seen_f", "types_f", "chars_f"], ["unused"]),
        helper.make_node("Mul", ["unused", "zero"], ["nothing"]),
        helper.make_node("Add", ["masked", "nothing"], ["probs"]),
    ]
    casts = [
        helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT)
        for name in ("seen", "types", "chars")
    ]
    constants: dict[str, np.ndarray[Any, Any]] = {
        "one": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "origin": np.array([0], np.int64),
        "zeroth": np.array([0], np.int64),
        "votes": votes,
        "floor": np.array([0.1], np.float32),
        "zero": np.array(0.0, np.float32),
    }
    long, real = TensorProto.INT64, TensorProto.FLOAT
    graph = helper.make_graph(
        [*nodes[:10], *casts, *nodes[10:]],
        "g2pw",
        [
            helper.make_tensor_value_info("input_ids", long, ["b", "l"]),
            helper.make_tensor_value_info("token_type_ids", long, ["b", "l"]),
            helper.make_tensor_value_info("attention_mask", long, ["b", "l"]),
            helper.make_tensor_value_info("phoneme_mask", real, ["b", len(_LABELS)]),
            helper.make_tensor_value_info("char_ids", long, ["b"]),
            helper.make_tensor_value_info("position_ids", long, ["b"]),
        ],
        [helper.make_tensor_value_info("probs", real, ["b", len(_LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the published layout."""
    path: Path = tmp_path_factory.mktemp("G2PWModel")
    onnx.save(_model(), str(path / "g2pW.onnx"))
    for name, pairs in (("POLY", _POLYPHONIC), ("MONO", _MONOPHONIC)):
        lines = "\n".join(f"{char}\t{reading}" for char, reading in pairs)
        (path / f"{name}PHONIC_CHARS.txt").write_text(f"{lines}\n", encoding="utf-8")
    table = json.dumps(_PINYIN, ensure_ascii=False)
    (path / "bopomofo_to_pinyin_wo_tune_dict.json").write_text(table, encoding="utf-8")
    config = "raise SystemExit\nuse_mask = True\nuse_char_phoneme = False\n"
    (path / "config.py").write_text(config, encoding="utf-8")
    (path / "vocab.txt").write_text("\n".join(_VOCABULARY), encoding="utf-8")
    return path


def _read(model: G2pw, *words: str) -> list[str]:
    readings = model.read([Token(word, "n") for word in words])
    return [pinyin for reading in readings for pinyin in reading.pinyins]


def test_model_decides_by_context(folder: Path) -> None:
    """The same character is read as the graph says for its place in the clause."""
    model = G2pw.load(folder)
    assert _read(model, "这", "行", "很", "长") == ["zhe4", "hang2", "hen3", "chang2"]
    assert _read(model, "我", "得", "行") == ["wo3", "dei3", "xing2"]


def test_impossible_readings_are_masked(folder: Path) -> None:
    """With no vote for any of its readings a character still takes one of its own."""
    assert _read(G2pw.load(folder), "长", "河")[0] in {"chang2", "zhang3"}


def test_dictionary_words_overrule_the_model(folder: Path) -> None:
    """银行 is in the phrase dictionary, whatever the graph thinks of 行."""
    assert _read(G2pw.load(folder), "银行") == ["yin2", "hang2"]


def test_some_characters_are_never_asked(folder: Path) -> None:
    """一 keeps its dictionary tone for the sandhi rules, though the model lists it."""
    assert _read(G2pw.load(folder), "一") == ["yi1"]


def test_far_context_is_cut_off(folder: Path) -> None:
    """A clause far longer than the window gives the same readings."""
    model = G2pw.load(folder)
    assert _read(model, "河" * 60, "这", "行", "河" * 60)[61] == "hang2"


def test_particle_with_another_reading_keeps_its_tone(folder: Path) -> None:
    """得 read dei3 is no particle, so it is not made neutral."""
    pronouncer = Pronouncer(symbol_table("v2"), G2pw.load(folder))
    assert pronouncer.phones("我得行")[1] == ("d", "ei3")


def test_frontend_uses_the_folder(folder: Path) -> None:
    """ChineseFrontend reads by the model when it is given one."""
    words = ChineseFrontend("v2", g2pw_dir=folder).phonemize("这行，我得行。")
    assert [" ".join(word.phones) for word in words] == [
        "zh e4", "h ang2", ",", "w o3", "d ei3", "x ing2", ".",
    ]  # fmt: skip


def test_config_of_the_model_is_not_executed(folder: Path) -> None:
    """config.py in the fixture would end the process if it ran."""
    assert "SystemExit" in (folder / "config.py").read_text(encoding="utf-8")
    G2pw.load(folder)


def test_text_is_run_once_where_the_graph_allows(folder: Path, tmp_path: Path) -> None:
    """A graph that takes one row of text for all queries gets one, with the same readings."""
    for source in folder.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    onnx.save(_model(shares_text=True), str(tmp_path / "g2pW.onnx"))
    shared, repeated = G2pw.load(tmp_path), G2pw.load(folder)
    assert shared._shares_text and not repeated._shares_text
    words = ("这", "行", "很", "长", "我", "得", "行")
    assert _read(shared, *words) == _read(repeated, *words)


def test_damaged_tables_are_refused(folder: Path, tmp_path: Path) -> None:
    """A line that is no pair names the file."""
    for source in folder.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "POLYPHONIC_CHARS.txt").write_text("行 ㄏㄤ2", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match=r"POLYPHONIC_CHARS\.txt is damaged"):
        G2pw.load(tmp_path)


def test_foreign_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    """A vocab.txt without BERT's special tokens says so."""
    for source in folder.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "vocab.txt").write_text("a\nb", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="is no BERT vocabulary"):
        G2pw.load(tmp_path)
