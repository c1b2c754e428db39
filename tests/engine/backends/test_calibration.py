"""The choice between fp32 and int8: timed once, kept, overridable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime as ort
import pytest

from engine.backends import calibration
from engine.backends.calibration import FILE, calibrated_precision, time_steps
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.onnx_session import open_session
from engine.config import EngineConfig
from engine.errors import InvalidParameter
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.pack import Pack
from tests.micro_pack import micro_pack


def opener(
    pack: Pack, opened: list[str]
) -> tuple[ExportManifest, Callable[[str], ort.InferenceSession]]:
    folder = pack.path / "onnx"
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)

    def open_step(precision: str) -> ort.InferenceSession:
        opened.append(precision)
        record = manifest.record("step", precision)
        weights = GraphWeights(pack).load(record.weights)
        return open_session(folder / record.file, threads=1, initializers=weights)

    return manifest, open_step


def test_the_faster_precision_is_chosen_and_kept(
    micro: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timed once; read afterwards, for this number of threads only."""
    opened: list[str] = []
    manifest, open_step = opener(micro, opened)
    timed = {"fp32": 2.0, "int8": 1.0}
    monkeypatch.setattr(calibration, "time_steps", lambda sessions: timed)
    assert calibrated_precision(tmp_path, manifest, open_step, 1) == "int8"
    assert opened == ["fp32", "int8"]
    assert list(json.loads((tmp_path / FILE).read_text()).values()) == ["int8"]
    timed["fp32"] = 0.5
    assert calibrated_precision(tmp_path, manifest, open_step, 1) == "int8"
    assert calibrated_precision(tmp_path, manifest, open_step, 2) == "fp32"
    assert len(opened) == 4


def test_both_precisions_are_really_timed(micro: Pack) -> None:
    """Positive seconds of CPU for each session."""
    _, open_step = opener(micro, [])
    times = time_steps({name: open_step(name) for name in ("fp32", "int8")})
    assert set(times) == {"fp32", "int8"} and all(0 <= t < 1 for t in times.values())


def test_an_inaccurate_variant_is_not_considered(micro: Pack, tmp_path: Path) -> None:
    """However fast; and nothing is opened when there is no choice."""
    opened: list[str] = []
    manifest, open_step = opener(micro, opened)
    records = tuple(replace(r, error=0.2) if r.precision == "int8" else r for r in manifest.graphs)
    rough = replace(manifest, graphs=records)
    assert calibrated_precision(tmp_path, rough, open_step, 1) == "fp32"
    assert not opened and not (tmp_path / FILE).exists()


def test_a_damaged_or_read_only_cache_only_costs_time(micro: Pack, tmp_path: Path) -> None:
    """The choice is made anyway."""
    manifest, open_step = opener(micro, [])
    (tmp_path / FILE).write_text("[")
    assert calibrated_precision(tmp_path, manifest, open_step, 1) in ("fp32", "int8")
    nowhere = tmp_path / FILE / "below a file"
    assert calibrated_precision(nowhere, manifest, open_step, 1) in ("fp32", "int8")


def test_auto_is_a_precision_of_the_engine(tmp_path: Path) -> None:
    """The backend says what it came to; a name that is none is refused."""
    pack = micro_pack(tmp_path)
    said = OnnxBackend(pack, EngineConfig(num_slots=1, precision="auto")).describe()["precision"]
    choices = json.loads((pack.path / "cache" / FILE).read_text())
    (chosen,) = choices.values()
    assert said.endswith(f"step {chosen}")
    with pytest.raises(InvalidParameter, match="valid: fp32, int8, auto"):
        EngineConfig(precision="int3")
