"""The server that is measured is told from what disturbs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.processes import cpu_s, descendants, parent_of, server_cpu_s

_BUSY = (
    "import socket, sys, time\n"
    "listener = socket.create_server(('127.0.0.1', 0))\n"
    "while time.process_time() < 0.3:\n"
    "    pass\n"
    "print(listener.getsockname()[1], flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def server() -> Iterator[tuple[int, int]]:
    """A process that has used 0.3 s and listens: its number and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def test_who_listens_at_an_address_is_found(server: tuple[int, int]) -> None:
    """By its port, whatever the scheme and the path."""
    pid, port = server
    for url in (f"http://127.0.0.1:{port}", f"ws://localhost:{port}/path", f"127.0.0.1:{port}"):
        assert server_cpu_s(url)() == pytest.approx(cpu_s([pid]), abs=0.05)
        assert server_cpu_s(url)() >= 0.25


def test_a_server_elsewhere_uses_nothing_here(server: tuple[int, int]) -> None:
    """The port alone says nothing; nor do a port nobody listens on and this process itself."""
    _, port = server
    assert server_cpu_s(f"http://192.0.2.1:{port}")() == 0.0
    assert server_cpu_s(f"https://api.example.com:{port}")() == 0.0
    with socket.create_server(("127.0.0.1", 0)) as own:
        assert server_cpu_s(f"http://127.0.0.1:{own.getsockname()[1]}")() == 0.0


def test_a_process_is_below_the_one_that_started_it(server: tuple[int, int]) -> None:
    """This one is its parent."""
    pid, _ = server
    assert parent_of(pid) == os.getpid()
    assert descendants(pid) == [pid] and pid in descendants(os.getpid())
