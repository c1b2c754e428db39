"""Engines on disk: what makes one be found, built or removed; the compiler is the host's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engine.backends.tensorrt_cache import BuildProfiles, EngineCache
from engine.errors import CheckpointError
from tests.host_tensorrt import host_tensorrt

PROFILES: BuildProfiles = ({"x": ((1,), (2,), (4,))},)
WIDER: BuildProfiles = ({"x": ((1,), (2,), (8,))},)


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    host_tensorrt(monkeypatch)


def engine(
    folder: Path,
    source: str = "a",
    profiles: BuildProfiles = PROFILES,
    *,
    graph: str = "step-fp16",
    flavour: str = "tensorrt",
    device: str = "A",
    version: str = "",
) -> Path:
    cache = EngineCache(folder, flavour=flavour, device=device)
    cache._version = version or cache._version
    return cache.engine(graph, source, profiles, lambda target: target.write_text(source))


def test_the_graph_is_written_only_to_be_compiled(tmp_path: Path) -> None:
    """And is gone afterwards; the engine lies there alone, whole."""
    first = engine(tmp_path)
    assert first.read_bytes().endswith(b"a")
    stamp = first.stat().st_mtime_ns

    def refuse(target: Path) -> None:
        raise AssertionError("converted again")

    cache = EngineCache(tmp_path, flavour="tensorrt", device="A")
    assert cache.engine("step-fp16", "a", PROFILES, refuse) == first
    assert first.stat().st_mtime_ns == stamp
    assert list(tmp_path.iterdir()) == [first]


def test_the_compiler_is_given_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs elsewhere than a server that was started beside its packs."""
    _, built = host_tensorrt(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert engine(Path("cache")) == next((tmp_path / "cache").iterdir())
    (request,) = built
    assert Path(request.onnx).is_absolute() and Path(request.engine).is_absolute()


def test_an_engine_takes_the_place_of_those_it_supersedes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another export, and of another version; the log names them."""
    caplog.set_level(logging.INFO)
    first = engine(tmp_path)
    second = engine(tmp_path, "b")
    assert list(tmp_path.iterdir()) == [second]
    assert f"removed {first.name}: {second.name} takes its place" in caplog.text
    third = engine(tmp_path, "b", version="11.5")
    assert list(tmp_path.iterdir()) == [third]


def test_engines_of_another_use_stay(tmp_path: Path) -> None:
    """Other shapes, device, flavour, precision or graph: somebody may be served with them."""
    others = [
        engine(tmp_path, profiles=WIDER),
        engine(tmp_path, device="B"),
        engine(tmp_path, flavour="tensorrt_rtx"),
        engine(tmp_path, graph="step-fp32"),
        engine(tmp_path, graph="step"),
        engine(tmp_path, graph="step-fp16-x"),
    ]
    first, second = engine(tmp_path), engine(tmp_path, "b")
    assert set(tmp_path.iterdir()) == {*others, second} and first not in others


def test_a_build_that_fails_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version may be started again."""
    first = engine(tmp_path)

    def fail(*given: object) -> None:
        raise CheckpointError("no")

    monkeypatch.setattr(EngineCache, "_build", fail)
    with pytest.raises(CheckpointError):
        engine(tmp_path, "b")
    assert list(tmp_path.iterdir()) == [first]
