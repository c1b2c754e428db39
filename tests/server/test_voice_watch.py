"""Voices that come and go beside a running server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.errors import EngineFailed
from server.voice_watch import INTERVAL_S, watch_voices

Step = Callable[[], None]


async def run(folder: Path, reload: Callable[[], Awaitable[None]], steps: list[Step]) -> None:
    """Watch; each step happens while the watch sleeps, after the last it is cancelled."""

    async def sleep(seconds: float) -> None:
        assert seconds == INTERVAL_S
        if not steps:
            raise asyncio.CancelledError
        steps.pop(0)()

    with pytest.raises(asyncio.CancelledError):
        await watch_voices(folder, reload, sleep=sleep)


async def test_voices_that_come_go_and_change_are_seen_once_each(tmp_path: Path) -> None:
    """Also the first one, which makes the folder; nothing is read while nothing changes."""
    folder = tmp_path / "voices"
    times = iter(range(1, 10))

    def touch() -> None:
        folder.mkdir(exist_ok=True)
        os.utime(folder, ns=(0, next(times)))

    reads: list[int] = []

    async def reload() -> None:
        reads.append(folder.stat().st_mtime_ns)

    await run(folder, reload, [lambda: None, touch, lambda: None, touch, lambda: None, touch])
    assert reads == [1, 2, 3]


async def test_engine_that_is_down_does_not_end_the_watch(tmp_path: Path) -> None:
    """The next change is read."""
    calls: list[str] = []

    async def reload() -> None:
        calls.append("call")
        if len(calls) == 1:
            raise EngineFailed("the engine process died")

    def change(time_ns: int) -> Step:
        return lambda: os.utime(tmp_path, ns=(0, time_ns))

    await run(tmp_path, reload, [change(1), change(2)])
    assert len(calls) == 2
