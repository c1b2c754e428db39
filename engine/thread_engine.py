"""The engine in threads of this process: for tests, tools and machines with one user."""

from __future__ import annotations

import asyncio

from engine.base_engine import BaseEngine
from engine.build import start_worker
from engine.config import EngineConfig
from engine.dispatch import dispatch
from engine.errors import EngineFailed
from engine.messages import Command, Event
from engine.worker import Worker


class ThreadEngine(BaseEngine):
    """An EngineClient whose worker shares this process and its GIL."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """See EngineClient."""
        self._loop = asyncio.get_running_loop()
        self._worker, ready = await asyncio.to_thread(start_worker, self._config, self._emit)
        self._handle(ready)

    async def close(self) -> None:
        """See EngineClient."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.close)
        self._fail_all(EngineFailed("the engine was closed"))

    def _send(self, command: Command) -> None:
        if self._worker is not None:
            dispatch(command, self._worker, self._emit)

    def _emit(self, event: Event) -> None:
        """Hand an event of any thread to the loop."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._handle, event)
