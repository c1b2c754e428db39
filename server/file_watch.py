"""Notices that a file was changed beside a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

INTERVAL_S = 2.0


async def changes(
    path: Path, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[None]:
    """Yield whenever a file is not what it was; one that is gone for a moment is waited for."""
    seen = _state(path)
    while True:
        await sleep(INTERVAL_S)
        now = _state(path)
        if now is not None and now != seen:
            seen = now
            yield


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
