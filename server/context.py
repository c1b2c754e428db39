"""One utterance as a dialect sees it: open, append, flush, end, cancel; events come back.

    context = Context(...)          open
    context.append("Hello, ")       any number of times, also while events are read
    context.end()
    async for event in context:     Audio, timings, sentence borders; the last one is
        ...                         ContextDone, ContextCancelled or ErrorMessage

`run` is its life and belongs to a task group of whoever owns the connection. The native protocol
speaks to the same Utterance through a Sink of its own; nothing about speech is decided here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from server import messages
from server.admission import Admission
from server.errors import ClientError, error_code
from server.events import CancelRequested
from server.frames import CLOCK_PER_MS, AudioPacket
from server.messages import (
    ContextCancelled,
    ContextDone,
    ErrorMessage,
    FlushDone,
    SegmentStarted,
    ServerMessage,
)
from server.outbox import Sent
from server.quotas import Account
from server.services import Services
from server.settings import Settings
from server.text_intake import TextIntake
from server.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Audio:
    """Consecutive packets of the context."""

    packets: tuple[AudioPacket, ...]

    @property
    def payload(self) -> bytes:
        """The bytes of all packets: a stretch of audio for every codec but Opus."""
        return b"".join(packet.payload for packet in self.packets)


ContextEvent: TypeAlias = ServerMessage | Audio
_ENDS = (ContextDone, ContextCancelled, ErrorMessage)


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """What the owner of a connection gives to each of its contexts.

    Attributes:
        account: Of the API key.
        route: The dialect's name, for metrics.
        max_buffer_chars: Most text that may wait to be spoken, and as many flushes.
        is_unpaced: Audio goes as fast as it is read, not as fast as it is played.
    """

    account: Account
    route: str
    max_buffer_chars: int
    is_unpaced: bool = False


class Context:
    """See the module docstring. A Sink; iterate it once."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        options: ContextOptions,
        settings: Settings,
        *,
        ctx: str = "",
    ) -> None:
        self.ctx = ctx
        self.settings = settings
        self._services = services
        self._admission = admission
        self._options = options
        self._intake = TextIntake()
        self._text: list[str] = []
        self._received_chars = 0
        self._spoken_chars = 0  # up to the sentence that started last
        self._waiting_flushes = 0  # not answered yet
        self._events: deque[ContextEvent] = deque()
        self._woken = asyncio.Event()
        self._taken = Sent()
        self._is_cancelled = False
        self._is_ended = False
        self._has_ended = False  # the last event is queued
        self._utterance = Utterance(
            services,
            self,
            ctx=ctx,
            alias=1,
            settings=settings,
            account=options.account,
            route=options.route,
        )

    # --- commands ---------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """Everything appended, as offsets in events count it."""
        return "".join(self._text)

    @property
    def is_ended(self) -> bool:
        """True when no more text may come."""
        return self._is_ended or self._is_cancelled or self._has_ended

    def append(self, text: str) -> None:
        """Take more text.

        Raises:
            ClientError: buffer_full or quota_exceeded.
        """
        if self.is_ended:
            return
        waiting = self._received_chars - self._spoken_chars + len(text)
        if waiting > self._options.max_buffer_chars:
            most = self._options.max_buffer_chars
            message = f"{waiting} characters would wait to be spoken, valid: up to {most}"
            raise ClientError("buffer_full", message, ctx=self.ctx)
        try:
            self._options.account.spend_chars(len(text))
        except ClientError as error:
            error.ctx = self.ctx
            raise
        self._take(self._intake.feed(text))

    def flush(self, flush_id: str | int | None = None) -> None:
        """Speak what is buffered; answered by FlushDone.

        Raises:
            ClientError: buffer_full.
        """
        if self.is_ended:
            return
        most = self._options.max_buffer_chars
        if self._waiting_flushes >= most:
            message = f"{self._waiting_flushes} flushes wait, valid: up to {most}"
            raise ClientError("buffer_full", message, ctx=self.ctx)
        self._waiting_flushes += 1
        self._utterance.flush(flush_id)

    def end(self) -> None:
        """Take no more text and finish."""
        if not self.is_ended:
            self._take(self._intake.finish())
            self._is_ended = True
            self._utterance.end()

    def cancel(self, reason: str = "client", *, played_ms: float | None = None) -> None:
        """Stop: no audio is given out after this returns; the last event follows at once."""
        if self._is_cancelled or (self._has_ended and not self._events):
            return
        self._is_cancelled = True
        self._has_ended = False
        self._events.clear()
        self._utterance.cancel(CancelRequested(1, reason, played_ms))

    def _take(self, text: str) -> None:
        if text:
            self._received_chars += len(text)
            self._text.append(text)
            self._utterance.append(text)

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until everything is made, a cancel or a failure."""
        try:
            opened = await self._admission.open_context(
                self._options.account,
                is_realtime=self.settings.is_realtime and not self._options.is_unpaced,
            )
        except ClientError as error:
            self._utterance.refuse(error)
            return
        with opened, self._services.metrics.active_contexts.track_inprogress():
            await self._utterance.run()

    async def __aiter__(self) -> AsyncIterator[ContextEvent]:
        while True:
            while not self._events:
                self._woken.clear()
                await self._woken.wait()
            event = self._events.popleft()
            if isinstance(event, Audio):
                self._note(event.packets[-1])
            yield event
            if isinstance(event, _ENDS):
                return

    def _note(self, last: AudioPacket) -> None:
        """Note how far the listener has been given the audio."""
        self._taken = Sent(last.seq, last.pts + last.duration)
        if self._options.is_unpaced:
            self._utterance.ack(self._taken.pts_end / CLOCK_PER_MS, None)

    # --- Sink -------------------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> bool:
        """See Sink."""
        if self._has_ended or (self._is_cancelled and not isinstance(message, ContextCancelled)):
            return False
        if isinstance(message, SegmentStarted):
            self._spoken_chars = max(self._spoken_chars, message.end)
        elif isinstance(message, FlushDone):
            self._waiting_flushes -= 1
        self._put(message)
        return True

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        if self._has_ended or self._is_cancelled:
            return False
        self._put(Audio(tuple(packets)))
        return True

    def fail(self, code: str, message: str, *, request_id: str, retry_after_ms: int | None) -> None:
        """See Sink."""
        if self._has_ended:
            return
        entry = error_code(code)
        error = messages.ErrorMessage(
            code=entry.code,
            status=entry.status,
            message=message,
            retryable=entry.retryable,
            request_id=request_id,
            fatal=True,
            ctx=self.ctx,
            retry_after_ms=retry_after_ms,
        )
        self._put(error)

    def starve(self) -> None:
        """See Sink; dialects have no word for it."""

    def sent(self) -> Sent:
        """See Sink."""
        return self._taken

    def _put(self, event: ContextEvent) -> None:
        self._has_ended = isinstance(event, _ENDS)
        self._events.append(event)
        self._woken.set()
