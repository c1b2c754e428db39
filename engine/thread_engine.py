"""The engine in threads of this process: for tests, tools and machines with one user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

from engine.build import start_worker
from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.config import EngineConfig
from engine.dispatch import dispatch
from engine.engine_session import EngineSession
from engine.errors import EngineFailed
from engine.messages import Command, Event
from engine.types import AudioChunk, SentenceJob
from engine.worker import Worker


class ThreadEngine:
    """An EngineClient whose worker shares this process and its GIL."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session = EngineSession(self._send)

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        return self._session.info

    @property
    def is_ready(self) -> bool:
        """See EngineClient."""
        return self._session.is_ready

    @property
    def voices(self) -> Mapping[str, VoiceInfo]:
        """See EngineClient."""
        return self._session.voices

    async def start(self) -> None:
        """See EngineClient."""
        self._loop = asyncio.get_running_loop()
        self._worker, ready = await asyncio.to_thread(start_worker, self._config, self._emit)
        self._session.handle(ready)

    async def close(self) -> None:
        """See EngineClient."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.close)
        self._session.fail_all(EngineFailed("the engine was closed"))

    def synthesize(
        self, job: SentenceJob
    ) -> AbstractAsyncContextManager[AsyncIterator[AudioChunk]]:
        """See EngineClient."""
        return self._session.synthesize(job)

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """See EngineClient."""
        self._session.grant(utterance_id, audio_s)

    def forget(self, utterance_id: str) -> None:
        """See EngineClient."""
        self._session.forget(utterance_id)

    async def reload_voices(self) -> None:
        """See EngineClient."""
        await self._session.reload_voices()

    async def stats(self) -> EngineStats:
        """See EngineClient."""
        return await self._session.stats()

    def _send(self, command: Command) -> None:
        if self._worker is not None:
            dispatch(command, self._worker, self._emit)

    def _emit(self, event: Event) -> None:
        """Hand an event of any thread to the loop."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._session.handle, event)
