"""One server process at a time: started, watched from outside, ended."""

from __future__ import annotations

import contextlib
import http
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import cpu_s, descendants, peak_rss_kb
from engine.errors import BackendUnavailable

_START_LIMIT_S = 300.0
_STOP_LIMIT_S = 10.0
_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started.

    Attributes:
        environment: Variables beside this process's own.
    """

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> list[str]:
        """Return the words to execute; variables are set by env(1)."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *settings, *self.words] if settings else list(self.words)


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[bytes], ready_s: float) -> None:
        self._process = process
        self.ready_s = ready_s

    def processes(self) -> list[int]:
        """Return the server's process and all below it."""
        return descendants(self._process.pid)

    def cpu_s(self) -> float:
        """Return the CPU seconds of all of them."""
        return cpu_s(self.processes())

    def peak_rss_mb(self) -> float:
        """Return the sum of what each held at most."""
        return sum(peak_rss_kb(pid) for pid in self.processes()) / 1024

    @property
    def is_alive(self) -> bool:
        """False once it has ended by itself."""
        return self._process.poll() is None


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(command: Command, port: int, log: Path, health: str = "") -> Iterator[Served]:
    """Start a server and give it when it is ready; it and its children end with the block.

    Args:
        health: A path that is answered by 200 once it is; "": it is when it takes connections.

    Raises:
        BackendUnavailable: It ended before that, or took too long; the text has its last lines.
    """
    command.folder.mkdir(parents=True, exist_ok=True)
    begun_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.line(),
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not (_is_well(port, health) if health else _listens(port)):
            if process.poll() is not None:
                raise BackendUnavailable(f"it ended with {process.returncode}: {last_lines(log)}")
            if time.monotonic() - begun_s > _START_LIMIT_S:
                raise BackendUnavailable(f"not ready after {_START_LIMIT_S:.0f} s")
            time.sleep(0.1)
        yield Served(process, time.monotonic() - begun_s)
    finally:
        _end(process)


def last_lines(log: Path) -> str:
    """Return what a server said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_LAST_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT_S)
            if sent == signal.SIGKILL or not _group_lives(process.pid):
                return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _is_well(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5.0) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except OSError:
        return False
