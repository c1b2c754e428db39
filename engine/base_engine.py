"""What ThreadEngine and ProcessEngine share: jobs as async iterators over a stream of events.

A subclass starts and stops a worker, carries commands to it (`_send`) and hands its events to
`_handle` on the event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.config import EngineConfig
from engine.errors import EngineFailed
from engine.messages import (
    Cancel,
    Command,
    Event,
    Failed,
    Forget,
    GetStats,
    Grant,
    Ready,
    ReloadVoices,
    Spoken,
    StartFailed,
    StatsReport,
    Submit,
    VoicesLoaded,
)
from engine.types import AudioChunk, SentenceJob

_T = TypeVar("_T")


class BaseEngine(ABC):
    """An EngineClient without its worker: dispatches events to whoever waits for them."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._queues: dict[int, asyncio.Queue[AudioChunk | Exception]] = {}
        self._stats_waiters: list[asyncio.Future[EngineStats]] = []
        self._voice_waiters: list[asyncio.Future[None]] = []
        self._ready: asyncio.Future[None] | None = None
        self._info: EngineInfo | None = None
        self._voices: dict[str, VoiceInfo] = {}
        self._is_ready = False
        self._last_audio_s = -math.inf

    @abstractmethod
    async def start(self) -> None:
        """See EngineClient."""

    @abstractmethod
    async def close(self) -> None:
        """See EngineClient."""

    @abstractmethod
    def _send(self, command: Command) -> None:
        """Give the worker a command; never blocks, and is lost when there is no worker."""

    @property
    def is_ready(self) -> bool:
        """See EngineClient."""
        return self._is_ready

    @property
    def last_audio_s(self) -> float:
        """See EngineClient."""
        return self._last_audio_s

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        assert self._info is not None, "the engine was not started"
        return self._info

    @property
    def voices(self) -> Mapping[str, VoiceInfo]:
        """See EngineClient."""
        return self._voices

    def _expect_ready(self) -> asyncio.Future[None]:
        """Return a future that ends with the next Ready, or with what StartFailed carries."""
        self._ready = asyncio.get_running_loop().create_future()
        return self._ready

    def _handle(self, event: Event) -> None:
        """Take one event, on the loop's thread."""
        match event:
            case Spoken(chunk):
                self._last_audio_s = time.monotonic()
                if (queue := self._queues.get(chunk.job_id)) is not None:
                    queue.put_nowait(chunk)
            case Failed(job_id, error):
                if (queue := self._queues.get(job_id)) is not None:
                    queue.put_nowait(error)
            case Ready(info, voices):
                self._info = info
                self._set_voices(voices)
                self._is_ready = True
                self._last_audio_s = time.monotonic()
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case StartFailed(error):
                if self._ready is not None and not self._ready.done():
                    self._ready.set_exception(error)
            case VoicesLoaded(voices):
                self._set_voices(voices)
                for waiter in self._take(self._voice_waiters):
                    waiter.set_result(None)
            case StatsReport(stats):
                for waiter_ in self._take(self._stats_waiters):
                    waiter_.set_result(stats)

    def _fail_all(self, error: EngineFailed) -> None:
        """End every open job and question with `error`."""
        self._is_ready = False
        for queue in self._queues.values():
            queue.put_nowait(error)
        for waiter in self._take(self._stats_waiters):
            waiter.set_exception(error)
        for waiter_ in self._take(self._voice_waiters):
            waiter_.set_exception(error)

    @asynccontextmanager
    async def synthesize(self, job: SentenceJob) -> AsyncIterator[AsyncIterator[AudioChunk]]:
        """See EngineClient."""
        self._check_ready()
        assert job.job_id not in self._queues, f"job {job.job_id} is running"
        queue: asyncio.Queue[AudioChunk | Exception] = asyncio.Queue()
        self._queues[job.job_id] = queue
        ended = False

        async def chunks() -> AsyncIterator[AudioChunk]:
            nonlocal ended
            while not ended:
                item = await queue.get()
                if isinstance(item, Exception):
                    ended = True
                    raise item
                ended = item.is_final
                yield item

        try:
            self._send(Submit(job))
            yield chunks()
        finally:
            del self._queues[job.job_id]
            if not ended:
                self._send(Cancel(job.job_id))

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """See EngineClient."""
        self._send(Grant(utterance_id, audio_s))

    def forget(self, utterance_id: str) -> None:
        """See EngineClient."""
        self._send(Forget(utterance_id))

    async def reload_voices(self) -> None:
        """See EngineClient.

        Raises:
            EngineFailed: There is no engine to ask now.
        """
        self._check_ready()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._voice_waiters.append(waiter)
        self._send(ReloadVoices())
        await waiter

    async def stats(self) -> EngineStats:
        """See EngineClient.

        Raises:
            EngineFailed: There is no engine to ask now.
        """
        self._check_ready()
        waiter: asyncio.Future[EngineStats] = asyncio.get_running_loop().create_future()
        self._stats_waiters.append(waiter)
        self._send(GetStats())
        return await waiter

    def _check_ready(self) -> None:
        # A command to a dead engine would be answered by nobody.
        if not self._is_ready:
            raise EngineFailed("the engine is not ready; try again shortly", code="warming_up")

    def _set_voices(self, voices: tuple[VoiceInfo, ...]) -> None:
        self._voices = {voice.id: voice for voice in voices}

    @staticmethod
    def _take(waiters: list[asyncio.Future[_T]]) -> list[asyncio.Future[_T]]:
        taken = [waiter for waiter in waiters if not waiter.done()]
        waiters.clear()
        return taken
