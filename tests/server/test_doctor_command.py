"""The doctor: what works, and how to get the rest."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends.tensorrt_check import GpuCheck
from engine.config import EngineConfig
from engine.voices import VoiceStore
from server import doctor as doctor_checks
from server import doctor_command
from tests.micro_pack import micro_pack


def doctor(*sets: str) -> int:
    """Run the command with `--set`s."""
    parser = argparse.ArgumentParser()
    doctor_command.add_arguments(parser)
    return doctor_command.run(parser.parse_args([p for s in sets for p in ("--set", s)]))


def test_a_server_that_can_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Status 0; what is missing but not needed has its command."""
    assert doctor("engine.backend=fake", "server.port=0", f"engine.voices_dir={tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "ok  backend       fake" in printed
    assert f"--  voices        none in {tmp_path}" in printed
    assert "-> sovits-live voice add NAME" in printed
    assert printed.endswith("ready to serve\n")


def test_no_pack_no_port_no_backend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Status 1; each has what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sets = (f"server.port={port}", f"engine.packs_dir={tmp_path}", "engine.backend=abacus")
        assert doctor(*sets) == 1
    printed = capsys.readouterr().out
    assert "!!  pack" in printed and "sovits-live model import" in printed
    assert f"!!  port          127.0.0.1:{port}" in printed
    assert "engine.backend is 'abacus', valid: auto, onnxruntime" in printed
    assert "cannot start" in printed


def test_a_bad_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Is the first thing to repair."""
    assert doctor("server.prot=1") == 1
    assert "!!  configuration" in capsys.readouterr().out


def test_missing_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The chosen backend stops serve; an extra does not."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor_checks, "_EXTRAS", {"zh-g2pw": ("no_such_module", "polyphones")})
    assert doctor(f"engine.packs_dir={tmp_path}", "server.port=0", "server.host=::1") == 1
    printed = capsys.readouterr().out
    assert "!!  backend       onnxruntime: the onnxruntime backend needs onnxruntime" in printed
    assert "--  extra         zh-g2pw" in printed
    assert "-> sovits-live doctor --network" in printed


def test_voice_of_another_pack_has_the_command_that_enrols_it_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is no voice of this server, and serve starts without it."""
    pack = micro_pack(tmp_path / "packs")
    store, own = VoiceStore(tmp_path / "voices"), VoiceStore(pack.path / "voices")
    voice = own.load("anna")
    store.save(replace(voice, id="right"), pack.name)
    store.save(replace(voice, id="wrong", pack_fingerprint="0" * 64), "other")
    sets = (f"engine.packs_dir={tmp_path / 'packs'}", f"engine.voices_dir={tmp_path / 'voices'}")
    assert doctor(*sets, "engine.pack=micro", "server.port=0") == 0
    printed = capsys.readouterr().out
    assert f"ok  voices        right ({tmp_path / 'voices'})" in printed
    assert "--  voices        wrong: voice 'wrong' was enrolled with pack 'other'" in printed
    assert "sovits-live voice add wrong REFERENCE.wav" in printed


def test_the_gpu_check_ends_with_the_first_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1, a line for the step that failed, and nothing of the usual report."""

    def steps(config: EngineConfig, *, soak_s: float) -> Iterator[GpuCheck]:
        yield GpuCheck("device", True, f"{config.backend}, {config.num_slots}, {soak_s:.0f} s")
        yield GpuCheck("engines", False, "no room")

    monkeypatch.setattr("engine.gpu_acceptance.accept", steps)
    parser = argparse.ArgumentParser()
    doctor_command.add_arguments(parser)
    pack = micro_pack(tmp_path)
    options = ["--gpu-check", "tensorrt", "--soak-s", "7", "--set", f"engine.pack={pack.path}"]
    options += ["--set", "engine.slots=3"]
    assert doctor_command.run(parser.parse_args(options)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "device", "tensorrt,", "3,", "7", "s"]
    assert lines[1].split() == ["!!", "engines", "no", "room"]
    assert lines[-1].startswith("the GPU cannot be used")
