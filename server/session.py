"""One native WebSocket: pumps messages between the socket, the protocol and the utterances.

All tasks belong to one group: when the session ends, everything it started is cancelled with it. It
ends with its socket, unless a context is to be resumed: then it waits a while for another socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from server import events, messages
from server.admission import Admission, TokenBucket
from server.config import LimitsSection
from server.errors import ClientError, error_code
from server.frames import AudioPacket
from server.link import Link
from server.messages import ServerMessage
from server.outbox import Sent
from server.parking import RESUME_TTL_S, Parking
from server.protocol import Limits, SessionProtocol
from server.quotas import Account
from server.services import Services
from server.settings import Settings
from server.utterance import Utterance

logger = logging.getLogger(__name__)

_TICK_S = 0.25  # how often timeouts are looked at
_CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is given by its server.

    Attributes:
        check: Raises ClientError for settings that cannot be served.
        make_ready: Makes the greeting of a session, given its id and resume token.
        account: Of the API key.
        parking: Where sessions wait for their clients to come back.
        warning: Of the handshake; said after the greeting.
    """

    limits: LimitsSection
    defaults: Settings
    check: Callable[[Settings], None]
    make_ready: Callable[[str, str], messages.Ready]
    account: Account
    parking: Parking
    warning: str = ""


class _Over(Exception):
    """Ends the session's tasks."""


class _ContextSink:
    """The native form of a Sink: one context of the protocol."""

    def __init__(self, session: Session, alias: int) -> None:
        self._session = session
        self._alias = alias

    def send(self, message: ServerMessage) -> bool:
        """See Sink."""
        is_sent = self._session.protocol.send(self._alias, message)
        self._session.wake()
        return is_sent

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        is_sent = self._session.protocol.send_audio(self._alias, packets)
        self._session.wake()
        return is_sent

    def fail(self, code: str, message: str, *, request_id: str, retry_after_ms: int | None) -> None:
        """See Sink."""
        self._session.protocol.fail(
            self._alias, code, message, request_id=request_id, retry_after_ms=retry_after_ms
        )
        self._session.wake()

    def starve(self) -> None:
        """See Sink."""
        self._session.protocol.starve(self._alias)

    def sent(self) -> Sent:
        """See Sink."""
        return self._session.protocol.sent(self._alias)


class Session:
    """See the module docstring."""

    def __init__(
        self,
        link: Link,
        services: Services,
        admission: Admission,
        options: SessionOptions,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.holder = options.account.holder
        self._link: Link | None = link  # None while the client is away
        self._services = services
        self._admission = admission
        self._options = options
        limits = options.limits
        self.protocol = SessionProtocol(
            Limits(
                limits.max_contexts,
                limits.max_text_bytes,
                limits.max_buffer_chars,
                limits.max_session_chars,
            ),
            options.defaults,
            new_request_id=lambda: uuid.uuid4().hex[:16],
            unix_ms=lambda: time.time_ns() // 1_000_000,
            check=options.check,
            spend=options.account.spend_chars,
        )
        self._utterances: dict[int, Utterance] = {}
        self._group: asyncio.TaskGroup | None = None
        self._woken = asyncio.Event()
        self._linked = asyncio.Event()  # another socket came
        self._closed = asyncio.Event()  # our close message is written and answered
        self._successor: tuple[Session, Mapping[str, int]] | None = None  # whom this socket is for
        self._closing: tuple[int, str] | None = None  # code and reason, once all is written
        self._closes_when_idle: tuple[int, str] | None = None  # once no context is open
        now = services.clock()
        self._started_s = now
        self._last_activity_s = now
        self._has_received = False
        self._write_started_s: float | None = None
        self._was_lost = False  # the last socket broke
        self._is_waiting = False  # for another socket
        self._throttled_since_s: float | None = None

    def wake(self) -> None:
        """Let the writer look for messages."""
        self._woken.set()

    async def run(self) -> None:
        """Live until the socket closes, or for a while longer."""
        metrics = self._services.metrics
        metrics.connections.inc()
        logger.info("session opened", extra={"session": self.id})
        token = self._options.parking.enter(self)
        link = self._link
        assert link is not None
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._write(), name="writer")
                group.create_task(self._watch(), name="watch")
                self.protocol.send_session(self._options.make_ready(self.id, token))
                if self._options.warning:
                    self.protocol.warn("no_subprotocol", self._options.warning)
                self.wake()
                while self._link is not None:
                    await self._read(self._link)
                    self._release()
                    await self._wait_for_client()
                raise _Over
        except* _Over:
            pass
        except* Exception:
            # Past the upgrade nobody else can answer: an HTTP error would be garbage in the stream.
            logger.exception("session failed", extra={"session": self.id})
            await (self._link or link).close(1011, "internal")
        finally:
            self._options.parking.leave(token)
            self._release()
            metrics.connections.dec()
            logger.info("session closed", extra={"session": self.id, "close_code": link.close_code})
        if self._successor is not None:
            session, last = self._successor
            await session.adopt(link, last)

    # --- coming back ------------------------------------------------------------------------------

    async def adopt(self, link: Link, last: Mapping[str, int]) -> None:
        """Go on over another socket; return when the session has done with it."""
        if self._link is not None:
            broken = self._link
            broken.abort()  # the server has not noticed yet that it broke
            await broken.released.wait()
        if not self._is_waiting:
            await link.close(error_code("session_expired").close, "session_expired")
            return
        logger.info("session resumed", extra={"session": self.id})
        self.protocol.resume(self.id, last)
        link.released.clear()
        self._link = link
        self._linked.set()
        self.wake()
        await link.released.wait()

    def _release(self) -> None:
        """Let go of the socket; whoever opened it goes on."""
        link, self._link = self._link, None
        self._write_started_s = None
        if link is not None:
            link.released.set()
            self._was_lost = link.is_lost

    async def _wait_for_client(self) -> None:
        """Wait for another socket, if the last one broke and a context is to be resumed."""
        is_over = self._closing is not None or self._successor is not None
        if is_over or not self._was_lost or not self.protocol.num_resumable:
            return
        for event in self.protocol.park():
            self._handle(event)
        logger.info("session waits", extra={"session": self.id})
        self._linked.clear()
        self._is_waiting = True
        try:
            async with asyncio.timeout(RESUME_TTL_S):
                await self._linked.wait()
        except TimeoutError:
            pass
        finally:
            self._is_waiting = False

    def drain(self, deadline_s: float) -> None:
        """Finish the open contexts, then close."""
        self.protocol.go_away(round(deadline_s * 1000))
        self._close_when_idle(error_code("draining").close, "draining")

    def close(self, code: int, reason: str) -> None:
        """Close once what is queued is written."""
        self._closing = self._closing or (code, reason)
        self._linked.set()  # nobody to wait for
        self.wake()

    def revoke(self) -> None:
        """Close: the key is no longer one of this server's."""
        for event in self.protocol.cancel_all("unauthorized"):
            self._handle(event)
        self._end("unauthorized", "the key was taken back")

    def bytes_queued(self) -> int:
        """Return the size of what waits to be written."""
        return self.protocol.bytes_queued()

    # --- reading ----------------------------------------------------------------------------------

    async def _read(self, link: Link) -> None:
        """Handle messages until the socket closes."""
        bucket = TokenBucket(self._options.limits.msgs_per_s, self._services.clock())
        while (data := await link.receive()) is not None:
            if isinstance(data, str):
                happened = self.protocol.receive_text(data)
            else:
                happened = self.protocol.receive_binary(data)
            self._last_activity_s = self._services.clock()
            self._has_received = True
            for event in happened:
                self._handle(event)
            self.wake()
            if self._successor is not None:
                return
            await self._throttle(bucket)
            if self._closing is not None:
                await self._closed.wait()
                return

    async def _throttle(self, bucket: TokenBucket) -> None:
        """Read more slowly than a flood comes; nothing is lost, TCP tells the client."""
        now = self._services.clock()
        wait_s = bucket.take(now)
        if not bucket.is_short:
            self._throttled_since_s = None
            return
        if self._throttled_since_s is None:
            self._throttled_since_s = now
            text = f"more than {self._options.limits.msgs_per_s} messages per second"
            self.protocol.warn("rate_limited", text)
            self.wake()
        elif now - self._throttled_since_s > self._options.limits.write_stall_s:
            self._end("rate_limited", "too many messages for too long")
        await asyncio.sleep(wait_s)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.ContextOpened():
                self._open(event)
            case events.TextAppended(alias, text):
                self._utterances[alias].append(text)
            case events.FlushRequested(alias, flush_id):
                self._utterances[alias].flush(flush_id)
            case events.TextEnded(alias):
                self._utterances[alias].end()
            case events.CancelRequested(alias):
                self._utterances[alias].cancel(event)
            case events.PlaybackAcked(alias, played_ms, seq):
                self._utterances[alias].ack(played_ms, seq)
            case events.SettingsUpdated(alias, settings):
                self._utterances[alias].update(settings)
            case events.ResumeRequested(token, last):
                self._resume(token, last)
            case events.CloseRequested(mode):
                if mode == "now":
                    for cancelled in self.protocol.cancel_all("closed"):
                        self._handle(cancelled)
                self._close_when_idle(1000, "")
            case events.Disconnect(code, reason):
                self.close(code, reason)

    def _resume(self, token: str, last: Mapping[str, int]) -> None:
        """Hand this socket to the session it was opened for."""
        session = self._options.parking.find(token, self.holder)
        if session is None or session is self:
            self.protocol.refuse("session_expired", "no session is kept for this token")
        elif self.protocol.num_active:
            self.protocol.refuse("context_conflict", "resume before opening contexts")
        else:
            self._successor = (session, last)

    def _open(self, event: events.ContextOpened) -> None:
        sink = _ContextSink(self, event.alias)
        utterance = Utterance(
            self._services,
            sink,
            ctx=event.ctx,
            alias=event.alias,
            settings=event.settings,
            account=self._options.account,
        )
        self._utterances[event.alias] = utterance
        assert self._group is not None
        self._group.create_task(self._live(utterance), name=f"utterance-{event.alias}")

    async def _live(self, utterance: Utterance) -> None:
        """Run an utterance within the server's limit of active ones."""
        try:
            opened = await self._admission.open_context(
                self._options.account, is_realtime=utterance.is_realtime
            )
        except ClientError as error:
            utterance.refuse(error)
        else:
            with opened, self._services.metrics.active_contexts.track_inprogress():
                await utterance.run()
        self._after_context()

    def _after_context(self) -> None:
        self._last_activity_s = self._services.clock()
        for alias in [a for a in self._utterances if self.protocol.state_of(a) is None]:
            del self._utterances[alias]
        if self._closes_when_idle is not None and not self.protocol.num_active:
            self.close(*self._closes_when_idle)

    def _close_when_idle(self, code: int, reason: str) -> None:
        self._closes_when_idle = self._closes_when_idle or (code, reason)
        if not self.protocol.num_active:
            self.close(*self._closes_when_idle)
        self.wake()

    # --- writing ----------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write what the protocol has, in order, while there is a socket."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._link is None:
                continue
            try:
                await self._write_all(self._link)
                if self._closing is not None:
                    await self._link.close(*self._closing)
            except ConnectionError:
                continue  # the reader sees the end of the socket
            finally:
                if self._closing is not None:
                    self._closed.set()
            if self._closing is not None:
                return

    async def _write_all(self, link: Link) -> None:
        while link is self._link and (data := self.protocol.take()) is not None:
            self._write_started_s = self._services.clock()
            if isinstance(data, bytes):
                self._last_activity_s = self._write_started_s
            await link.send(data)
            self._write_started_s = None

    # --- timeouts ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """End a session that is idle, too old, or does not read."""
        limits = self._options.limits
        is_expiring = False
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._services.clock()
            if self._link is None:
                self._last_activity_s = now
                continue
            if self._stalled_s(now) > limits.write_stall_s:
                self._end("slow_consumer", f"nothing was read for {limits.write_stall_s:g} s")
                await asyncio.sleep(_CLOSE_TIMEOUT_S)
                if self._link is not None:
                    self._link.abort()  # the close message cannot be written either
                return
            if self._closing is not None:
                continue
            if not self._has_received and now - self._started_s > limits.first_message_s:
                text = f"no message came for {limits.first_message_s:g} s, valid: a ping will do"
                self._end("idle_timeout", text)
            elif now - self._last_activity_s > limits.idle_timeout_s:
                self._end("idle_timeout", f"nothing happened for {limits.idle_timeout_s:g} s")
            elif now - self._started_s > limits.session_ttl_s and not is_expiring:
                is_expiring = True
                self.protocol.go_away(0)
                self._close_when_idle(error_code("session_expired").close, "session_expired")

    def _stalled_s(self, now: float) -> float:
        """Return how long the listener has held up a write or a context."""
        writing = 0.0 if self._write_started_s is None else now - self._write_started_s
        return max([writing, *(u.stalled_s(now) for u in self._utterances.values())])

    def _end(self, code: str, message: str) -> None:
        """End the session with an error."""
        event = self.protocol.end_session(code, message)
        self._services.metrics.errors.labels(code).inc()
        self._handle(event)
