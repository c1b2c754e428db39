"""What the C library keeps of memory that was freed.

Opening a model frees as much as it keeps: stored weights are widened, copied and packed once each.
glibc holds freed memory for later, in one arena per thread that ever allocated, and none of it is
wanted again. Other systems return memory by themselves; there `limit_arenas` and `trim` do nothing.

numpy asks for huge pages for large arrays. A cache of many slots, each written in part, is then
zeroed and resident as a whole: `zeros` asks for small ones.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from engine.types import FloatArray

_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 3  # one lane of the engine each


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


@cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
