"""Memory that was freed goes back to the system, and what is not written takes none."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.backends.memory import gather, zeros

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


_GATHER_SCRIPT = """
import mmap
from engine.backends.memory import gather, zeros

def kilobytes(name):
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

content = bytes(range(256)) * 4096  # 1 MB
half = mmap.mmap(-1, 160 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for number in range(160):
    half.seek(number << 20)
    half.write(content if number < 80 else content[:4096])
small = zeros((64, 512, 512))
small[:] = 1.0
huge, resident = kilobytes("AnonHugePages"), kilobytes("Rss")
moved = gather()
print(moved // 1024, kilobytes("AnonHugePages") - huge, kilobytes("Rss") - resident)
half.seek(0)
assert all(half.read(1 << 20) == content for _ in range(80))
assert (small == 1.0).all()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
def test_what_is_in_use_throughout_is_gathered_and_nothing_else() -> None:
    """Of 160 MB the half that was written moves; 64 MB that asked for small pages stay."""
    done = subprocess.run(
        [sys.executable, "-c", _GATHER_SCRIPT], capture_output=True, text=True, check=True
    )
    moved, huge, grown = map(int, done.stdout.split())
    if moved == 0:
        pytest.skip("this kernel cannot, or has no huge page")
    assert 76_000 < huge < 84_000
    assert huge == moved
    assert grown < 2000


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
def test_what_fits_into_caches_stays() -> None:
    """With 20 MB written instead of 80 nothing moves: a small pack starts as fast as before."""
    script = _GATHER_SCRIPT.replace("80", "20").replace("zeros((64", "zeros((4")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == "0"


def test_nothing_is_gathered_without_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on glibc it is no error and moves nothing."""
    monkeypatch.setattr("engine.backends.memory._glibc", lambda: None)
    assert gather() == 0


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
