"""One context of a session: send it text, iterate its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from clients.errors import ServerError, StreamError
from clients.events import AudioPacket, ContextCancelled, ContextDone, ContextStarted, Event, Failed

Send: TypeAlias = Callable[[Mapping[str, Any], "Context"], Awaitable[None]]


class Context:
    """One text stream and its audio; made by `StreamClient.open`.

    Iterate it for its events: the last is ContextDone or ContextCancelled. A fatal error of the
    context, or one before it started, raises ServerError, a lost session SessionLost.

    Attributes:
        started: What is needed to decode; None until it arrived.
        has_audio: True once a packet came: from here on nothing can be sent again.
        is_over: True once nothing more will come.
    """

    def __init__(self, ctx: str, send: Send) -> None:
        self.id = ctx
        self.started: ContextStarted | None = None
        self.has_audio = False
        self.is_over = False
        self._send_message = send
        self._events: asyncio.Queue[Event | StreamError] = asyncio.Queue()
        self._is_cancelling = False

    async def send_text(self, text: str, *, flush: bool = False) -> None:
        """Append text, exactly as it is; `flush` speaks it without waiting for its end."""
        await self.send("text", text=text, **({"flush": True} if flush else {}))

    async def flush(self, flush_id: str | int | None = None) -> None:
        """Speak what is buffered; answered by FlushDone."""
        await self.send("flush", **({} if flush_id is None else {"id": flush_id}))

    async def end(self) -> None:
        """Say that no more text comes."""
        await self.send("end")

    async def cancel(self, *, played_ms: float | None = None, fade_ms: float | None = None) -> None:
        """Stop at once. Packets not read yet are dropped; ContextCancelled follows."""
        self._is_cancelling = True
        kept = [e for e in self._drain() if not isinstance(e, AudioPacket)]
        for event in kept:
            self._events.put_nowait(event)
        values = {"played_ms": played_ms, "fade_ms": fade_ms}
        await self.send("cancel", **{k: v for k, v in values.items() if v is not None})

    async def ack(self, played_ms: float) -> None:
        """Report the playback position, every 100 to 500 ms or not at all."""
        await self.send("ack", played_ms=played_ms)

    async def update(self, **changes: Any) -> None:
        """Change speed, style or voice from the next sentence on."""
        await self.send("update", **changes)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self._events.get()
            if isinstance(event, StreamError):
                raise event
            yield event
            if isinstance(event, ContextDone | ContextCancelled):
                return

    async def send(self, kind: str, **values: Any) -> None:
        """Send a message of this context by its wire name."""
        await self._send_message({"type": kind, "ctx": self.id, **values}, self)

    def _drain(self) -> list[Event | StreamError]:
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    def receive(self, event: Event) -> None:
        """Take an event from the session; for the client."""
        if self.is_over:
            return
        if isinstance(event, AudioPacket):
            self.has_audio = True
            if self._is_cancelling:
                return
        elif isinstance(event, Failed) and (event.fatal or self.started is None):
            self.fail(ServerError(event.message, code=event.code, retryable=event.retryable))
            return
        elif isinstance(event, ContextStarted):
            self.started = event
        elif isinstance(event, ContextDone | ContextCancelled):
            self.is_over = True
        self._events.put_nowait(event)

    def fail(self, error: StreamError) -> None:
        """End with an error; for the client."""
        if not self.is_over:
            self.is_over = True
            self._events.put_nowait(error)
