"""The backend that is chosen by timing the decoder."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from engine.backends import auto_backend
from engine.backends.auto_backend import time_decoders
from engine.backends.calibration import FILE
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.manifest import ExportManifest
from tests.micro_pack import micro_pack

CONFIG = EngineConfig(num_slots=1)


def test_without_openvino_it_is_onnx_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is timed, and `describe` says so."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    pack = micro_pack(tmp_path)
    assert create_backend("auto", pack, CONFIG).describe()["backend"] == "onnxruntime"
    assert not (pack.path / "cache").exists()


@pytest.mark.parametrize("faster", ["onnxruntime", "openvino"])
def test_the_faster_decoder_is_chosen_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    """Timed at the first start only."""
    pytest.importorskip("openvino")
    times = {"onnxruntime": 2.0, "openvino": 2.0, faster: 1.0}
    asked: list[int] = []

    def timed(pack: object, manifest: object, threads: int) -> dict[str, float]:
        asked.append(threads)
        return times

    monkeypatch.setattr(auto_backend, "time_decoders", timed)
    pack = micro_pack(tmp_path)
    for _ in range(2):
        assert create_backend("auto", pack, CONFIG).describe()["backend"] == faster
    assert asked == [CONFIG.acoustic_threads]
    assert list(json.loads((pack.path / "cache" / FILE).read_text()).values()) == [faster]


def test_both_decoders_are_really_timed(tmp_path: Path) -> None:
    """Positive seconds of CPU for each."""
    pytest.importorskip("openvino")
    pack = micro_pack(tmp_path)
    manifest = ExportManifest.load(pack.path / "onnx", pack_fingerprint=pack.fingerprint)
    times = time_decoders(pack, manifest, 1)
    assert set(times) == {"onnxruntime", "openvino"} and all(0 < t < 5 for t in times.values())
