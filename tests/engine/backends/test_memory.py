"""Memory that was freed goes back to the system, and what is not written takes none."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.backends.memory import zeros

# In a process of its own: what this one has on its heap is not known.
_SCRIPT = """
import ctypes
from engine.backends.memory import limit_arenas, trim

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(60_000) for _ in range(1000)]  # below the size that is mapped by itself
for block in blocks:
    ctypes.memset(block, 1, 60_000)
pinned = libc.malloc(60_000)  # above them on the heap, so that glibc cannot give them back itself
full = resident()
for block in blocks:
    libc.free(block)
kept = resident()
trim()
print(full - kept, kept - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_trim_returns_what_the_heap_keeps() -> None:
    """60 MB that were freed below a block in use are returned by `trim` and not before."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library is not glibc")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    by_itself, by_trim = map(int, done.stdout.split())
    assert by_itself < 5e6
    assert by_trim > 50e6


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
def test_zeros_take_no_memory_before_they_are_written() -> None:
    """Of 64 MB with a number in each 2 MB, a page each is resident: not all of it."""
    before = _resident_kb()
    array = zeros((64, 1024, 256))
    assert not array[::8, 0].any()
    array[::2, 0, 0] = 1.0
    assert array.sum() == 32.0 and array.dtype == np.float32
    assert _resident_kb() - before < 20_000


def _resident_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
