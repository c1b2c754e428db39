"""Notices voices that `sovits-live voice add` made or removed beside a running server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.errors import SovitsError

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0


async def watch_voices(
    folder: Path,
    reload: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Call `reload` whenever a voice came, went or was replaced; runs until it is cancelled.

    Voices are written beside their place and renamed into it, so the folder's own time of change
    tells all three.
    """
    seen = _changed(folder)
    while True:
        await sleep(INTERVAL_S)
        now = _changed(folder)
        if now == seen:
            continue
        seen = now
        try:
            await reload()
        except SovitsError as error:
            logger.warning("voices were not read again", extra={"error": str(error)})
        else:
            logger.info("voices were read again", extra={"folder": str(folder)})


def _changed(folder: Path) -> int:
    """Return when the folder last changed, in ns; 0 while there is none."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
