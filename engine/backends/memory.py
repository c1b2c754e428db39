"""What the C library keeps of memory that was freed.

Opening a model frees as much as it keeps: stored weights are widened, copied and packed once each.
glibc holds freed memory for later, in one arena per thread that ever allocated, and none of it is
wanted again. Other systems return memory by themselves; there `limit_arenas` and `trim` do nothing.

Weights come in pages of 4 KB that lie anywhere, and a step of a large T2S reads all of them: 7.5 ms
where huge pages take 6.9. `gather` moves them there.

numpy asks for huge pages for large arrays. A cache of many slots, each written in part, is then
zeroed and resident as a whole: `zeros` asks for small ones.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engine.types import FloatArray

_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 3  # one lane of the engine each
_COLLAPSE = 25  # MADV_COLLAPSE of madvise(2), since Linux 6.1
_HUGE_PAGE = 2 << 20
_STRETCH = 8 << 20  # shorter ones hold no weights
_LEAST = 64 << 20  # what is less stays in caches, whatever its pages
_NAMES = ("", "[heap]")  # of mappings that the heap consists of
_MOST_S = 3.0  # that a start may take longer: 0.7 s with a full-size pack, on a busy machine


def limit_arenas() -> None:
    """Let threads share arenas. Arenas that exist stay, so call it before threads start."""
    if (library := _glibc()) is not None:
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give freed memory back to the system; some milliseconds, while other threads may run."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def zeros(shape: Sequence[int]) -> FloatArray:
    """Return float32 zeros whose pages, 4 KB each, take no memory before they are written."""
    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, np.float32)
    length = math.prod(shape)
    pages = mmap.mmap(-1, max(4, 4 * length), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32, length).reshape(shape)


def gather() -> int:
    """Move what is in use of long stretches of memory into huge pages, and return its bytes.

    Only whole huge pages that are resident are moved, so no more memory is used than before. What
    asked for small pages (`zeros`) keeps them. Where the system cannot, nothing is moved.
    """
    library = _glibc()
    starts = [] if library is None else [start for start in _huge_pages() if _is_resident(start)]
    if len(starts) * _HUGE_PAGE < _LEAST:
        return 0
    until, moved = time.monotonic() + _MOST_S, 0
    for start in starts:
        failed = library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(_HUGE_PAGE), _COLLAPSE)
        # EINVAL: this memory is to have none, or the kernel cannot. Else no huge page is free.
        if failed and ctypes.get_errno() != errno.EINVAL:
            break
        moved += 0 if failed else _HUGE_PAGE
        if time.monotonic() > until:
            break
    return moved


def _is_resident(start: int) -> bool:
    """Tell whether every page of the 2 MB from `start` on is in memory."""
    pages = (ctypes.c_ubyte * (_HUGE_PAGE // mmap.PAGESIZE))()
    failed = _glibc().mincore(ctypes.c_void_p(start), ctypes.c_size_t(_HUGE_PAGE), pages)
    return not failed and all(page & 1 for page in pages)


def _huge_pages() -> Iterator[int]:
    """Yield the address of each huge page that fits into a long stretch of private memory."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        addresses, access, _, _, inode, *name = line.split(maxsplit=5)
        if access != "rw-p" or inode != "0" or "".join(name) not in _NAMES:
            continue
        first, end = (int(address, 16) for address in addresses.split("-"))
        if end - first >= _STRETCH:
            aligned = -(-first // _HUGE_PAGE) * _HUGE_PAGE
            yield from range(aligned, end - _HUGE_PAGE + 1, _HUGE_PAGE)


@cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
