"""The doctor: what works, and how to get the rest."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

import pytest

from engine.errors import BackendUnavailable
from server import doctor_command, libopus


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
    assert "engine.backend is 'abacus', valid: onnxruntime" in printed
    assert "cannot start" in printed


def test_a_bad_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Is the first thing to repair."""
    assert doctor("server.prot=1") == 1
    assert "!!  configuration" in capsys.readouterr().out


def test_missing_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """libopus and the chosen backend stop serve; an extra does not."""

    def missing() -> str:
        raise BackendUnavailable("no libopus found: pip install opuslib")

    monkeypatch.setattr(libopus, "library_path", missing)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor_command, "_EXTRAS", {"zh-g2pw": ("no_such_module", "polyphones")})
    monkeypatch.setattr(doctor_command, "_MIN_PYTHON", (99, 0))
    assert doctor(f"engine.packs_dir={tmp_path}", "server.port=0", "server.host=::1") == 1
    printed = capsys.readouterr().out
    assert "!!  libopus       no libopus found" in printed
    assert "!!  backend       onnxruntime: the onnxruntime backend needs onnxruntime" in printed
    assert "--  extra         zh-g2pw" in printed
    assert "!!  python" in printed
