"""The dispatcher: subcommands by name, imported when chosen."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from server.cli import SUBCOMMANDS, main
from server.runtime import installed_version

ROOT = Path(__file__).parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, in the checkout."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    """With its line, also when nothing is asked for; each is a module that exists."""
    assert main([]) == 2
    printed = capsys.readouterr().out
    for name, subcommand in SUBCOMMANDS.items():
        assert f"  {name}" in printed and subcommand.summary in printed
        assert find_spec(subcommand.module) is not None


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """What a bug report begins with."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sovits-live {installed_version()}\n"


def test_unknown_subcommand_is_told_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, as argparse does."""
    with pytest.raises(SystemExit) as exit:
        main(["srve"])
    assert exit.value.code == 2
    assert "\nerror: argument SUBCOMMAND: invalid choice: 'srve'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["say"], ["model"], ["bench", "latency"]])
def test_every_error_has_one_form(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line that begins with `error: `, also where argparse finds it."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_say_loads_no_engine() -> None:
    """A client starts without the networks, the text frontends and the server."""
    code = (
        "import sys; from server.cli import main\n"
        "try: main(['say', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'engine.worker', 'onnxruntime', 'torch', 'jieba'} & set(sys.modules)"
    )
    assert python(code).returncode == 0


def test_old_python_is_told_which_one_is_needed() -> None:
    """One line instead of an error from deep inside."""
    done = python("import sys; sys.version_info = (3, 10, 4); import server.cli")
    assert done.returncode == 1
    assert done.stderr.startswith("sovits-live needs Python 3.11 or newer, this is ")
    assert "Traceback" not in done.stderr
