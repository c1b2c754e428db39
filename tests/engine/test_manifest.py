"""Manifests of exported graphs: what is refused, and with which words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import CheckpointError
from engine.manifest import (
    FORMAT,
    ExportManifest,
    GraphRecord,
    check_file,
    describe_tensors,
    hash_file,
)

RECORD = GraphRecord(
    graph="step",
    precision="fp32",
    file="step.onnx",
    sha256="",
    num_bytes=3,
    opset=20,
    inputs={"tokens": "int64[1]"},
    outputs={"logits": "float32[1, 5]"},
    weights={"head": "copy t2s head.weight"},
    error=1e-7,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mypack" / "onnx"
    folder.mkdir(parents=True)
    (folder / "step.onnx").write_bytes(b"abc")
    record = replace(RECORD, sha256=hash_file(folder / "step.onnx"))
    ExportManifest(FORMAT, "f" * 64, {"torch": "2"}, {"flow_halo": 3}, (record,)).save(folder)
    return folder


def changed(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_was_saved_is_loaded(folder: Path) -> None:
    """Every field comes back, and the graph's file passes its check."""
    manifest = ExportManifest.load(folder, pack_fingerprint="f" * 64)
    assert manifest.numbers == {"flow_halo": 3} and manifest.precisions("step") == ("fp32",)
    record = manifest.record("step", "fp32")
    assert record.weights == RECORD.weights
    assert check_file(folder, record) == folder / "step.onnx"


def test_a_pack_without_graphs_says_how_to_make_them(tmp_path: Path) -> None:
    """The message is the command."""
    with pytest.raises(
        CheckpointError, match=r"mypack has no exported.*sovits-live export .*mypack"
    ):
        ExportManifest.load(tmp_path / "mypack" / "onnx", pack_fingerprint="f" * 64)


def test_graphs_of_another_pack_are_refused(folder: Path) -> None:
    """Both fingerprints are named."""
    with pytest.raises(CheckpointError, match=r"another pack \(ffffffffffff, this one is 0{12}\)"):
        ExportManifest.load(folder, pack_fingerprint="0" * 64)


def test_graphs_of_another_format_are_refused(folder: Path) -> None:
    """Inputs may have changed since."""
    changed(folder, format=1)
    with pytest.raises(CheckpointError, match=f"format 1, this version reads {FORMAT}; export"):
        ExportManifest.load(folder, pack_fingerprint="f" * 64)


@pytest.mark.parametrize("text", ["{", "[]", '{"graphs": [{"graph": 1}]}', '{"format": 2}'])
def test_a_damaged_manifest_is_refused(folder: Path, text: str) -> None:
    """Cut short, of another kind, or lacking fields."""
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="manifest.json is damaged"):
        ExportManifest.load(folder, pack_fingerprint="f" * 64)


def test_a_graph_that_was_not_exported_is_named(folder: Path) -> None:
    """With those that were."""
    manifest = ExportManifest.load(folder, pack_fingerprint="f" * 64)
    with pytest.raises(
        CheckpointError, match="step was not exported in int8; there are: step-fp32"
    ):
        manifest.record("step", "int8")


def test_a_changed_or_missing_file_is_refused(folder: Path) -> None:
    """Of another size, of the same size, or gone."""
    record = ExportManifest.load(folder, pack_fingerprint="f" * 64).record("step", "fp32")
    path = folder / "step.onnx"
    for content in (b"abcd", b"abd"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="was changed after its export"):
            check_file(folder, record)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing; export again"):
        check_file(folder, record)


def test_tensors_are_described_by_type_and_shape() -> None:
    """As the manifest shows them."""
    assert describe_tensors({"x": np.zeros((1, 2), np.float32)}) == {"x": "float32[1, 2]"}
