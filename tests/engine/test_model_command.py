"""The `model` subcommand end to end, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.cli import main
from tests.tiny_packs import tiny_request


@pytest.fixture
def packs(fixtures_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with one imported pack, `demo`."""
    request = tiny_request(fixtures_dir, tmp_path, "v2Pro")
    folder = tmp_path / "packs"
    status = main(
        ["model", "import", "--gpt", str(request.gpt), "--sovits", str(request.sovits)]
        + ["--hubert", str(request.hubert), "--bert", str(request.bert)]
        + ["--speaker", str(request.speaker), "--name", "demo", "--notice", "random weights"]
        + ["--packs-dir", str(folder)]
    )
    assert status == 0
    assert "demo: v2Pro" in capsys.readouterr().out
    return folder


def test_list_show_verify_remove(packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every action sees the pack, and it is gone at the end."""
    where = ["--packs-dir", str(packs)]
    assert main(["model", "list", *where]) == 0
    assert "demo  v2Pro  zh en ja ko yue" in capsys.readouterr().out
    assert main(["model", "list", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)[0]["notice"] == "random weights"
    assert main(["model", "show", "demo", *where]) == 0
    assert "fingerprint: " in capsys.readouterr().out
    assert main(["model", "verify", "demo", *where]) == 0
    assert main(["model", "remove", "demo", *where]) == 0
    assert not (packs / "demo").exists()
    capsys.readouterr()
    assert main(["model", "list", *where]) == 0
    assert "sovits-live model import" in capsys.readouterr().out


def test_damaged_pack_is_listed_with_its_error(
    packs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad pack does not hide the others."""
    (packs / "bad").mkdir()
    (packs / "bad" / "pack.json").write_text("{")
    assert main(["model", "list", "--packs-dir", str(packs)]) == 0
    out = capsys.readouterr().out
    assert "cannot be read" in out and "demo" in out


def test_errors_are_one_line(packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown names and unusable files end with status 1 and no traceback."""
    where = ["--packs-dir", str(packs)]
    assert main(["model", "remove", "nobody", *where]) == 1
    assert capsys.readouterr().err == "error: there is no pack 'nobody'; there are: demo\n"
    junk = packs / "junk.ckpt"
    junk.write_bytes(b"junk")
    files = ["--gpt", str(junk), "--sovits", str(junk)]
    assert main(["model", "import", *files, "--name", "x", *where]) == 1
    assert "not a torch or safetensors file" in capsys.readouterr().err
