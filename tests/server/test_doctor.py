"""The doctor's checks of the installation: each says what is there, or what to do."""

from __future__ import annotations

import importlib.metadata
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from clients.errors import Unplayable
from engine.errors import BackendUnavailable
from engine.pack import load_pack
from server import doctor, libopus
from server.doctor import Status

NANO = Path(__file__).parents[2] / "engine" / "bundled" / "nano"


def test_our_version_and_pythons_are_said() -> None:
    """Both are what a report of a bug needs."""
    assert [finding.what for finding in doctor.check_python()] == ["sovits-live", "python"]


def test_missing_libopus_stops_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says where to get one."""

    def missing() -> str:
        raise BackendUnavailable("no libopus found: pip install opuslib")

    monkeypatch.setattr(libopus, "library_path", missing)
    (finding,) = doctor.check_opus()
    assert finding.status is Status.BROKEN and "pip install opuslib" in finding.detail


def test_pack_without_graphs_needs_an_export(tmp_path: Path) -> None:
    """For every backend but torch."""
    pack = load_pack(NANO)
    assert list(doctor.check_graphs(pack, "onnxruntime")) == []
    bare = replace(pack, path=tmp_path)
    assert list(doctor.check_graphs(bare, "torch")) == []
    (finding,) = doctor.check_graphs(bare, "onnxruntime")
    assert finding.status is Status.BROKEN
    assert finding.fix.endswith("sovits-live export nano")


def test_pack_for_the_cpu_needs_an_export_for_a_gpu(tmp_path: Path) -> None:
    """The target is that of the backend; a pack that has the graphs is not mentioned."""
    bare = replace(load_pack(NANO), path=tmp_path)
    folder = tmp_path / "onnx"
    folder.mkdir()
    for backend, target in (("tensorrt_rtx", "tensorrt"), ("onnxruntime_cuda", "cuda")):
        (finding,) = doctor.check_graphs(bare, backend)
        assert "has no ONNX graphs" in finding.detail
        assert finding.fix.endswith(f"sovits-live export nano --for {target}")
    (folder / "manifest.json").touch()
    (finding,) = doctor.check_graphs(bare, "tensorrt")
    assert finding.detail == "nano was exported for the CPU, not for the tensorrt backend"
    assert list(doctor.check_graphs(bare, "onnxruntime")) == []
    (folder / "step_in_place.onnx").touch()
    assert list(doctor.check_graphs(bare, "tensorrt")) == []


def test_pack_that_does_not_fit_in_memory_is_named(tmp_path: Path) -> None:
    """By what is free and what it wants; where the system does not say, nothing is claimed."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:    2097152 kB\n")
    (fits,) = doctor.check_memory(100 << 20, meminfo)
    assert fits.status is Status.OK
    (large,) = doctor.check_memory(1 << 30, meminfo)
    assert large.status is Status.MISSING
    assert "2.0 GiB free, the pack wants about 3.4 GiB" in large.detail
    assert "engine.precision=int8" in large.fix
    assert list(doctor.check_memory(1, tmp_path / "none")) == []


def test_player_and_audio_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No player, no card, or both there."""
    cards = tmp_path / "cards"
    monkeypatch.setattr("clients.play.player_command", lambda rate: ["/usr/bin/aplay"])
    cards.write_text("--- no soundcards ---\n")
    (silent,) = doctor.check_player(cards)
    assert silent.status is Status.MISSING and "no audio device" in silent.detail
    assert "--out" in silent.fix
    cards.write_text(" 0 [PCH ]: HDA-Intel\n")
    (heard,) = doctor.check_player(cards)
    assert heard.status is Status.OK

    def none(rate: int) -> list[str]:
        raise Unplayable("no player found, install one of aplay")

    monkeypatch.setattr("clients.play.player_command", none)
    (missing,) = doctor.check_player(cards)
    assert missing.status is Status.MISSING and "install one of aplay" in missing.detail


def test_extras_are_listed_with_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there and what is not; every name is an extra of this project."""
    monkeypatch.setattr(doctor, "_EXTRAS", {"a": ("json", "one"), "b": ("no_such_module", "two")})
    there, missing = doctor.check_extras()
    assert there.status is Status.OK and missing.status is Status.MISSING
    assert missing.fix == "pip install 'sovits-live[b]'"


def test_a_backend_is_not_another_s_package() -> None:
    """Both ONNX Runtimes have one import name; only onnxruntime-gpu brings CUDA."""
    gpu = any(importlib.metadata.distributions(name="onnxruntime-gpu"))
    found = {f.detail.split(":")[0]: f.status for f in doctor.check_backends("fake")}
    assert found["onnxruntime"] is Status.OK
    assert found["onnxruntime_cuda"] is (Status.OK if gpu else Status.MISSING)


def test_nothing_is_listed_twice() -> None:
    """An extra that is a backend or a language has a line of its own already."""
    from engine.backends.registry import BACKENDS

    commands = [entry.install for entry in BACKENDS.values()]
    for extra in doctor._EXTRAS:
        assert not any(f"[{extra}]" in command for command in commands)


def test_extras_exist() -> None:
    """In pyproject.toml."""
    import tomllib

    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(doctor._EXTRAS) <= set(extras)


def test_network_is_tried_hub_by_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be reached has what to do; the others are well."""

    class Connection:
        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *args: object) -> None:
            pass

    def connect(address: tuple[str, int], timeout: float) -> Connection:
        if address[0] == "huggingface.co":
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return Connection()

    monkeypatch.setattr(socket, "create_connection", connect)
    findings = {finding.detail.split()[0]: finding for finding in doctor.check_network()}
    assert findings["huggingface"].status is Status.MISSING
    assert "name resolution" in findings["huggingface"].detail
    assert "HTTPS_PROXY" in findings["huggingface"].fix
    assert findings["hf-mirror"].status is findings["modelscope"].status is Status.OK
