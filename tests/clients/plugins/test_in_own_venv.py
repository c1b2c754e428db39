"""The plugins' tests, run where the frameworks are installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
_FILES = ("test_livekit.py", "test_pipecat.py")

pytestmark = [
    pytest.mark.compat,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("pipecat") is not None,
        reason="the frameworks are here: their tests run as they are",
    ),
]


def framework_python(folder: Path) -> Path:
    """Return a Python that has the frameworks: SOVITS_PLUGINS_PYTHON, else a venv made now."""
    given = os.environ.get("SOVITS_PLUGINS_PYTHON")
    if given:
        return Path(given)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    requirements = str(_HERE / "requirements.txt")
    install = [python, "-m", "pip", "install", "--quiet", "-r", requirements, "-e", str(_ROOT)]
    subprocess.run(install, check=True)
    return python


def test_the_plugins_pass_with_their_frameworks(tmp_path: Path) -> None:
    """All of them run, none is skipped."""
    python = framework_python(tmp_path / "venv")
    files = [str(_HERE / name) for name in _FILES]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "compat", "-W", "default", *files],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    report = done.stdout[-4000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    assert re.search(r"\d+ passed", report) and "skipped" not in report, report
