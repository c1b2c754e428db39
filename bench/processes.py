"""What processes use, read from /proc: those below one, and who listens on a port.

A server on this machine that is being measured is no disturbance; what else runs here is.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_LISTENS = "0A"  # of /proc/net/tcp
_DEFAULT_PORTS = {"https": 443, "wss": 443}


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    parents = {other: parent for other in all_processes() if (parent := parent_of(other))}
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found


def all_processes() -> Sequence[int]:
    """Return every process there is."""
    if not _PROC.is_dir():
        return []
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def parent_of(pid: int) -> int | None:
    """Return who started a process; None when it is gone."""
    fields = _fields(pid)
    return int(fields[1]) if fields else None


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds processes have used; those that are gone have used none."""
    return sum((int(f[11]) + int(f[12])) / _TICKS for pid in pids if (f := _fields(pid)))


def peak_rss_kb(pid: int) -> int:
    """Return what a process held at most; 0 when it is gone."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def server_cpu_s(url: str) -> Callable[[], float]:
    """Return what tells the CPU seconds of the server at an address, if it runs on this machine.

    One that runs elsewhere, or belongs to somebody else, has used none that could be told.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
    if not _is_this_machine(parts.hostname or ""):
        return lambda: 0.0

    def read() -> float:
        listeners = _listeners(port) - {os.getpid()}
        return cpu_s({pid for listener in listeners for pid in descendants(listener)})

    return read


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == socket.gethostname()


def _listeners(port: int) -> set[int]:
    """Return who listens on a port, as far as this user may see."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return {pid for pid in all_processes() if wanted & _open_files(pid)} if wanted else set()


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        table = _PROC / "net" / name
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            found.add(os.readlink(entry))
    except OSError:
        pass  # it is gone, or not ours to look at
    return found


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, or none when it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
