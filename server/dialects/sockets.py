"""A dialect's WebSocket: admission before the upgrade, limits, idle time, drain, contexts' tasks.

A dialect is a small class that takes parsed messages and follows the events of the contexts it
opens; everything that is the same for all of them is here. All tasks of a connection belong to one
group: when the socket is gone, its contexts are cancelled with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import WSMsgType, hdrs, web

from server.admission import TokenBucket
from server.context import Context
from server.dialects.common import Caller, admitted, context_for
from server.dialects.problems import Problem, problem_of
from server.errors import ClientError, error_code
from server.handshake import new_socket, tune
from server.protocol import MAX_STRIKES, STRIKES
from server.runtime import Runtime
from server.settings import Settings

logger = logging.getLogger(__name__)

_MAX_WS_BYTES = 256 * 1024  # DashScope's clients may send 20 000 characters at once
_TICK_S = 0.25


class Dialect(Protocol):
    """What a protocol adds to a Connection."""

    @property
    def idle_timeout_s(self) -> float:
        """How long nothing may happen before the connection is closed."""
        ...

    async def start(self) -> None:
        """Say what is to be said first."""
        ...

    async def receive(self, message: Mapping[str, Any]) -> None:
        """Take one message.

        Raises:
            ClientError: Answered by `report`.
        """
        ...

    async def report(self, problem: Problem) -> None:
        """Tell of a message that was refused."""
        ...


class _Over(Exception):
    """Ends the connection's tasks."""


class Connection:
    """See the module docstring."""

    def __init__(
        self,
        runtime: Runtime,
        caller: Caller,
        request: web.Request,
        ws: web.WebSocketResponse,
        *,
        route: str,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.runtime = runtime
        self.caller = caller
        self.request = request
        self.contexts: set[Context] = set()  # that are not over
        self.is_closing = False  # no new contexts
        self._ws = ws
        self._route = route
        self._clock = runtime.services.clock
        self._started_s = self._active_s = self._clock()
        self._num_chars = 0
        self._closes_when_idle: tuple[int, str] | None = None
        self._is_hanging_up = False
        self._hung_up = asyncio.Event()
        self._is_idle = asyncio.Event()  # no context is open
        self._is_idle.set()
        self._group: asyncio.TaskGroup | None = None

    # --- for dialects -----------------------------------------------------------------------------

    def open(
        self,
        settings: Settings,
        follow: Callable[[Context], Awaitable[None]],
        *,
        ctx: str = "",
    ) -> Context:
        """Open a context; `follow` reads its events in a task of its own.

        Raises:
            ClientError: Settings that cannot be served, or too many contexts.
        """
        if self.is_closing:
            raise ClientError("draining", "the server is shutting down", ctx=ctx)
        most = self.runtime.config.server.limits.max_contexts
        if len(self.contexts) >= most:
            raise ClientError("context_limit", f"{most} contexts are open, valid: {most}", ctx=ctx)
        context = context_for(self.runtime, self.caller, settings, route=self._route, ctx=ctx)
        self.contexts.add(context)
        self._is_idle.clear()
        assert self._group is not None
        self._group.create_task(self._live(context, follow), name=f"{self._route}-context")
        return context

    def append(self, context: Context, text: str) -> None:
        """Append text within the limit of a session.

        Raises:
            ClientError: quota_exceeded or buffer_full.
        """
        self._num_chars += len(text)
        most = self.runtime.config.server.limits.max_session_chars
        if self._num_chars > most:
            message = f"{self._num_chars} characters in one connection, valid: up to {most}"
            raise ClientError("quota_exceeded", message, ctx=context.ctx)
        context.append(text)

    async def send(self, message: Mapping[str, object]) -> None:
        """Send JSON."""
        await self._write(self._ws.send_str(json.dumps(message, separators=(",", ":"))))

    async def send_bytes(self, data: bytes) -> None:
        """Send binary audio."""
        await self._write(self._ws.send_bytes(data))

    async def _write(self, sending: Awaitable[None]) -> None:
        limit_s = self.runtime.config.server.limits.write_stall_s
        self._active_s = self._clock()
        try:
            async with asyncio.timeout(limit_s):
                await sending
        except TimeoutError:
            self.runtime.metrics.errors.labels("slow_consumer").inc()
            if self.request.transport is not None:
                self.request.transport.abort()  # a close message could not be written either
            raise _Over from None
        except ConnectionError:
            raise _Over from None

    async def hang_up(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket."""
        self.is_closing = True
        if not self._is_hanging_up:
            self._is_hanging_up = True
            await self._ws.close(code=code, message=reason.encode()[:120])
            self._hung_up.set()

    async def wait_idle(self, timeout_s: float) -> None:
        """Return when no context is open, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()

    def close_when_idle(self, code: int, reason: str = "") -> None:
        """Close once no context is open."""
        self.is_closing = True
        self._closes_when_idle = self._closes_when_idle or (code, reason)

    # --- for the server ---------------------------------------------------------------------------

    def drain(self, deadline_s: float) -> None:
        """See Hosted."""
        del deadline_s
        self.close_when_idle(error_code("draining").close, "draining")

    @property
    def holder(self) -> str:
        """See Hosted."""
        return self.caller.account.holder

    def revoke(self) -> None:
        """See Hosted."""
        self.close(error_code("unauthorized").close, "unauthorized")

    def close(self, code: int, reason: str) -> None:
        """See Hosted."""
        for context in self.contexts:
            context.cancel(reason)
        self.close_when_idle(code, reason)

    def bytes_queued(self) -> int:
        """See Hosted; the transport's own buffer is not counted."""
        return 0

    async def run(self, dialect: Dialect) -> None:
        """Live until the socket closes."""
        self.runtime.metrics.connections.inc()
        logger.info("connection opened", extra={"session": self.id, "route": self._route})
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._watch(dialect.idle_timeout_s), name="watch")
                await dialect.start()
                await self._read(dialect)
                raise _Over
        except* _Over:
            pass
        except* Exception:
            logger.exception("connection failed", extra={"session": self.id})
            await self._ws.close(code=1011, message=b"internal")
        finally:
            self.runtime.metrics.connections.dec()
            fields = {"session": self.id, "close_code": self._ws.close_code}
            logger.info("connection closed", extra=fields)

    async def _read(self, dialect: Dialect) -> None:
        bucket = TokenBucket(self.runtime.config.server.limits.msgs_per_s, self._clock())
        strikes = 0
        while True:
            message = await self._ws.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                if self._is_hanging_up:
                    await self._hung_up.wait()  # our close message is being written
                return
            self._active_s = self._clock()
            try:
                if message.type is WSMsgType.BINARY:
                    raise ClientError("binary_not_allowed", "binary, valid: JSON text messages")
                await dialect.receive(_parsed(message.data))
                strikes = 0
            except ClientError as error:
                self.runtime.metrics.errors.labels(error.code).inc()
                await dialect.report(problem_of(error))
                strikes += error.code in STRIKES
                if strikes >= MAX_STRIKES:
                    await self.hang_up(1008, "too many messages that make no sense")
                    return
            # A flood is read more slowly than it comes; TCP tells the client.
            await asyncio.sleep(bucket.take(self._clock()))

    async def _live(self, context: Context, follow: Callable[[Context], Awaitable[None]]) -> None:
        """Run a context and what reads it; end both together."""
        try:
            async with asyncio.TaskGroup() as group:
                life = group.create_task(context.run(), name="context")
                await follow(context)
                life.cancel()
        finally:
            self.contexts.discard(context)
            if not self.contexts:
                self._is_idle.set()
            self._active_s = self._clock()

    async def _watch(self, idle_timeout_s: float) -> None:
        """Close a connection that is idle, too old, or to be drained."""
        limits = self.runtime.config.server.limits
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            if self._closes_when_idle is not None and not self.contexts:
                await self.hang_up(*self._closes_when_idle)
                return
            if now - self._active_s > idle_timeout_s:
                await self.hang_up(1000, "idle")
                return
            if now - self._started_s > limits.session_ttl_s:
                self.close_when_idle(1000, "session_expired")


def _parsed(data: str) -> Mapping[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ClientError("bad_json", f"not JSON: {error!s:.120}") from None
    if not isinstance(message, dict):
        raise ClientError("bad_message", "the message is not a JSON object")
    return message


async def serve_socket(
    request: web.Request,
    runtime: Runtime,
    make_dialect: Callable[[Connection], Dialect],
    *,
    route: str,
) -> web.StreamResponse:
    """Upgrade a request and serve it; every refusal comes before the upgrade.

    Args:
        make_dialect: Reads the request; may raise ClientError.
    """
    with admitted(request, runtime) as caller:
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            raise ClientError("bad_message", "this is a WebSocket, valid: Upgrade: websocket")
        ws = new_socket(_MAX_WS_BYTES)
        connection = Connection(runtime, caller, request, ws, route=route)
        dialect = make_dialect(connection)
        ws.headers["X-Request-Id"] = connection.id
        await ws.prepare(request)
        tune(request.transport)
        with runtime.hosting(connection):
            await connection.run(dialect)
        return ws
