"""The machine and the versions a figure was measured with, and whether the machine was quiet."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    "numpy", "onnxruntime", "openvino", "torch", "aiohttp", "websockets", "uvloop", "opuslib",
)  # fmt: skip
_TICKS = os.sysconf("SC_CLK_TCK")
# Others may use so much of all cores while something is measured; with more, it was not quiet.
QUIET_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class Summary:
    """Seconds of repeated runs."""

    min: float
    median: float
    p95: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarise at least one value."""
        array = np.asarray(values, np.float64)
        p95 = float(np.percentile(array, 95))
        return cls(float(array.min()), float(np.median(array)), p95, len(array))


def environment() -> dict[str, Any]:
    """Return what a reader needs to repeat a measurement."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["sovits-live", *map(_without_folder, sys.argv[1:])]),
        "git": git_state(Path(__file__).parents[1]),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _without_folder(argument: str) -> str:
    """Return an argument of the command line; where a path is absolute, only its name."""
    return Path(argument).name if Path(argument).is_absolute() else argument


class QuietWatch:
    """Tells how much of the machine other processes used between its making and `share`.

    Args:
        measured_cpu_s: CPU seconds of processes that run and are being measured: no others.
    """

    def __init__(self, measured_cpu_s: Callable[[], float] = lambda: 0.0) -> None:
        self._measured_cpu_s = measured_cpu_s
        self._started = self._read()

    def share(self) -> float:
        """Return the others' share of all cores since the start, 0 to 1; NaN where unknown."""
        busy, own, total = (b - a for a, b in zip(self._started, self._read(), strict=True))
        return max(0.0, busy - own) / total if total > 0 else float("nan")

    def _read(self) -> tuple[float, float, float]:
        """Return busy, own and total CPU seconds."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0.0, 0.0, 0.0
        user, nice, system, idle, wait, *rest = (
            int(field) / _TICKS for field in stat.read_text().split("\n", 1)[0].split()[1:]
        )
        busy = user + nice + system + sum(rest[:2])
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        own += self._measured_cpu_s()
        return busy, own, busy + idle + wait


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a result with its environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full = {"environment": environment(), **data}
    path.write_text(json.dumps(full, indent=1, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Summary):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state(root: Path) -> str:
    """Return the commit of a checkout, with a + when its code is not what was committed."""
    try:
        sha = _git(root, "rev-parse", "--short", "HEAD")
        # Results are written while others are measured, and are no code.
        changes = _git(root, "status", "--porcelain", "-uno", "--", ".", ":!*/results/*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{sha}+" if changes else sha


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _memory_gb() -> float | None:
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    kilobytes = int(info.read_text().split("MemTotal:", 1)[1].split()[0])
    return round(kilobytes / 1e6, 1)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
