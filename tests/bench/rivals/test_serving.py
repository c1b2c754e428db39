"""Other people's servers are started, watched and ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.rivals.serving import Command, free_port, serving
from engine.errors import BackendUnavailable

_SERVER = (
    "import http.server, os, subprocess, sys\n"
    "block = bytearray(50_000_000)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "address = ('127.0.0.1', int(sys.argv[1]))\n"
    "http.server.HTTPServer(address, http.server.BaseHTTPRequestHandler).serve_forever()\n"
)


def test_a_server_and_its_children_are_seen_and_ended(tmp_path: Path) -> None:
    """Memory and CPU of the whole tree; afterwards nobody is left."""
    port = free_port()
    command = Command((sys.executable, "-c", _SERVER, str(port)), tmp_path)
    with serving(command, port, tmp_path / "log") as served:
        processes = served.processes()
        assert len(processes) == 2 and served.is_alive
        assert 50 < served.peak_rss_mb() < 500
        assert served.cpu_s() > 0
    assert not any(_runs(pid) for pid in processes)


def _runs(pid: int) -> bool:
    """Whether `pid` is there and not only waiting for somebody to ask how it ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    """The last lines of its output are in the error."""
    command = Command((sys.executable, "-c", "raise SystemExit('no such model')"), tmp_path)
    with pytest.raises(BackendUnavailable, match="no such model"):
        with serving(command, free_port(), tmp_path / "log"):
            pytest.fail("it never listened")


def test_variables_are_set_for_the_server_only(tmp_path: Path) -> None:
    """By env(1), so this process's own do not change."""
    command = Command(("python", "a.py"), tmp_path, {"A": "1"})
    assert command.line() == ["env", "A=1", "python", "a.py"]
    assert Command(("python", "a.py"), tmp_path).line() == ["python", "a.py"]
