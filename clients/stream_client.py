"""Speak through a running server: text goes in as it is written, packets come out.

    async with StreamClient("ws://127.0.0.1:8080") as client:
        context = await client.open(voice="anna", format={"codec": "opus", "rate": 24000})
        await context.send_text("Hello, ")
        await context.send_text("world.")
        await context.end()
        async for event in context:
            if isinstance(event, AudioPacket):
                ...

A connection that breaks is made again. Contexts without audio so far are sent once more and go on;
for the others iterating raises SessionLost, because what was heard cannot be taken back.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from clients.context import Context
from clients.errors import BadMessage, ConnectFailed, SessionLost
from clients.events import (
    PATH,
    SUBPROTOCOL,
    ContextStarted,
    Failed,
    Message,
    Pong,
    Ready,
    parse_audio,
    parse_message,
)

logger = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 1 << 20
_CLOSE_TIMEOUT_S = 2.0
_KEEPALIVE_S = 5.0  # servers end a session that says nothing for ten
_FIRST_BACKOFF_S = 0.25
_MAX_BACKOFF_S = 4.0
_STEADY_S = 5.0  # a connection that ends sooner is another failure in a row
_FINAL_STATUSES = frozenset({400, 401, 403, 404, 426})  # of HTTP: trying again changes nothing
# Broken, going away, restarting, overloaded, idle: a new connection may well work.
_RECONNECTABLE = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 1014, 4408})


def socket_url(url: str) -> str:
    """Return the address of the native socket for whatever was given for a server.

    `http` and `https` become `ws` and `wss`; without a path the protocol's own is added.

    Raises:
        ConnectFailed: If it is no such address.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ConnectFailed(f"{url!r} is no server address, valid: ws://HOST:PORT")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") or PATH, parts.query, ""))


class StreamClient:
    """One session. See the module docstring.

    Args:
        url: Of the server, such as ws://127.0.0.1:8080.
        token: API key, sent as a bearer token.
        reconnect_attempts: How often in a row to try again when the connection breaks; 0 for never.

    Attributes:
        ready: What the server said of itself.
    """

    ready: Ready

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        reconnect_attempts: int = 3,
        open_timeout_s: float = 10.0,
    ) -> None:
        self._url = socket_url(url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._reconnect_attempts = reconnect_attempts
        self._open_timeout_s = open_timeout_s
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._contexts: dict[str, Context] = {}
        self._by_alias: dict[int, Context] = {}
        # What a new connection must be told again: messages of contexts without audio so far.
        self._unheard: list[tuple[Context | None, str]] = []
        self._pongs: dict[float | str | None, asyncio.Future[Pong]] = {}
        self._numbers = itertools.count(1)
        self._lost: SessionLost | None = None
        self._last_failure = ""

    async def __aenter__(self) -> Self:
        self._socket = await self._connect()
        self._reader = asyncio.create_task(self._run(self._socket), name="stream-client-reader")
        self._keeper = asyncio.create_task(self._keep_alive(), name="stream-client-keeper")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session at once; contexts still open raise SessionLost."""
        self._lose(SessionLost("the client closed the session", close_code=1000))
        tasks = [task for task in (self._reader, self._keeper) if task is not None]
        self._reader = self._keeper = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def abort(self) -> None:
        """Break the connection without a closing handshake, as a lost network does."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def open(
        self, *, ctx: str | None = None, preempt: str | None = None, **settings: Any
    ) -> Context:
        """Open a context.

        Args:
            ctx: Its id; one is made up by default.
            preempt: "fade" or "now" cancels the other contexts.
            settings: As the protocol's `session.update` names them: voice, lang, speed, style,
                format={"codec", "rate", "frame_ms", "bitrate"}, lead_ms, seed, timings, ...
        """
        name = ctx or f"c{next(self._numbers)}"
        context = Context(name, self._send)
        self._contexts[name] = context
        changes = {k: v for k, v in settings.items() if v is not None}
        if preempt is not None:
            changes["preempt"] = preempt
        await context.send("context.open", **changes)
        return context

    async def update_defaults(self, **defaults: Any) -> None:
        """Change what later contexts start from."""
        await self._send({"type": "session.update", "defaults": defaults}, None)

    async def ping(self) -> float:
        """Return the round trip in seconds, through the server's event loop."""
        number = next(self._numbers)
        future: asyncio.Future[Pong] = asyncio.get_running_loop().create_future()
        self._pongs[number] = future
        started = time.monotonic()
        try:
            await self._write(json.dumps({"type": "ping", "t": number}))
            async with asyncio.timeout(self._open_timeout_s):
                await future
        finally:
            self._pongs.pop(number, None)
        return time.monotonic() - started

    # Sending

    async def _send(self, message: Mapping[str, Any], context: Context | None) -> None:
        data = json.dumps(message, ensure_ascii=False)
        if context is None or not context.has_audio:
            self._unheard.append((context, data))
        await self._write(data)

    async def _write(self, data: str) -> None:
        if self._lost is not None:
            raise self._lost
        if self._socket is None:
            return  # between two connections: what matters is sent again
        try:
            await self._socket.send(data)
        except ConnectionClosed:
            logger.debug("not sent, the connection is gone: %.80s", data)

    async def _keep_alive(self) -> None:
        """Let the server know that somebody is here, until the session ends."""
        while self._lost is None:
            await asyncio.sleep(_KEEPALIVE_S)
            with suppress(SessionLost):
                await self._write('{"type":"ping"}')

    # Connecting

    async def _connect(self) -> ClientConnection:
        """Return a connection on which the server said it is ready."""
        try:
            socket = await connect(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers=self._headers,
                compression=None,  # Opus does not compress
                # A proxy of the environment is used, but not to reach this machine.
                proxy=None if _is_loopback(self._url) else True,
                max_size=_MAX_MESSAGE_BYTES,
                open_timeout=self._open_timeout_s,
                close_timeout=_CLOSE_TIMEOUT_S,
            )
        except InvalidStatus as error:
            raise _refused(self._url, error) from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise ConnectFailed(
                f"no connection to {self._url}: {error or 'timed out'}; is a server running there? "
                "sovits-live serve starts one"
            ) from error
        try:
            async with asyncio.timeout(self._open_timeout_s):
                message = parse_message(str(await socket.recv()))
        except (TimeoutError, ConnectionClosed, BadMessage) as error:
            await socket.close()
            raise ConnectFailed(f"{self._url} is no sovits-live server: {error}") from error
        if not isinstance(message, Ready):
            await socket.close()
            raise ConnectFailed(f"{self._url} did not say it is ready but {message}")
        self.ready = message
        return socket

    async def _run(self, socket: ClientConnection) -> None:
        """Read until the session ends; whoever waits for it learns why."""
        lost = SessionLost("the client failed, its log has why", close_code=1006)
        try:
            lost = await self._live(socket)
        except Exception:
            logger.exception("the reader of %s failed", self._url)
        finally:
            self._lose(lost)

    async def _live(self, socket: ClientConnection) -> SessionLost:
        """Read over as many connections as it takes; return why it ended."""
        failures = 0
        while True:
            began_s = time.monotonic()
            lost = await self._read(socket)
            failures = failures + 1 if time.monotonic() - began_s < _STEADY_S else 0
            self._socket = None
            self._by_alias.clear()
            for context in [c for c in self._contexts.values() if c.has_audio]:
                context.fail(lost)
                self._forget(context)
            again = await self._reconnect(lost, failures)
            if again is None:
                return lost
            socket = again

    async def _reconnect(self, lost: SessionLost, failures: int) -> ClientConnection | None:
        """Return a new connection that knows what the old one was told, or None.

        Args:
            failures: Connections in a row that hardly began: what is said again may be the cause.
        """
        if lost.close_code not in _RECONNECTABLE:
            return None
        for attempt in range(max(0, failures - 1), self._reconnect_attempts):
            if attempt:
                await asyncio.sleep(min(_FIRST_BACKOFF_S * 2 ** (attempt - 1), _MAX_BACKOFF_S))
            try:
                socket = await self._connect()
                # A message may be appended while this one is being sent; the loop sees it too.
                for context, data in self._unheard:
                    if context is None or not context.is_over:
                        await socket.send(data)
            except (ConnectFailed, ConnectionClosed) as error:
                logger.info("reconnecting: %s", error)
                if isinstance(error, ConnectFailed) and error.status in _FINAL_STATUSES:
                    return None
            else:
                self._socket = socket
                return socket
        return None

    def _lose(self, lost: SessionLost) -> None:
        if self._lost is not None:
            return
        self._lost = lost
        for context in self._contexts.values():
            context.fail(lost)
        for future in self._pongs.values():
            if not future.done():
                future.set_exception(lost)

    # Receiving

    async def _read(self, socket: ClientConnection) -> SessionLost:
        """Hand out messages until the connection ends; return why it did."""
        try:
            async for data in socket:
                if isinstance(data, bytes):
                    self._receive_audio(data)
                else:
                    message = parse_message(data)
                    if message is not None:
                        self._receive(message)
        except BadMessage as error:
            await socket.close(1002)
            return SessionLost(str(error), close_code=1002)
        except ConnectionClosed:
            pass
        code = socket.close_code or 1006
        why = self._last_failure or socket.close_reason or "the connection ended"
        return SessionLost(f"session lost ({code}): {why}", close_code=code)

    def _receive_audio(self, data: bytes) -> None:
        alias, packets = parse_audio(data)
        context = self._by_alias.get(alias)
        if context is None:
            return
        if not context.has_audio:
            self._unheard = [entry for entry in self._unheard if entry[0] is not context]
        for packet in packets:
            context.receive(packet)

    def _receive(self, message: Message) -> None:
        if isinstance(message, Pong):
            future = self._pongs.get(message.t)
            if future is not None and not future.done():
                future.set_result(message)
            return
        context = self._contexts.get(getattr(message, "ctx", ""))
        if context is None:
            if isinstance(message, Failed):
                self._last_failure = f"{message.code}: {message.message}"
                logger.warning("the server says %s", self._last_failure)
            return
        if isinstance(message, ContextStarted):
            self._by_alias[message.alias] = context
        context.receive(message)
        if context.is_over:
            self._forget(context)

    def _forget(self, context: Context) -> None:
        self._contexts.pop(context.id, None)
        self._by_alias = {a: c for a, c in self._by_alias.items() if c is not context}
        self._unheard = [entry for entry in self._unheard if entry[0] is not context]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _refused(url: str, error: InvalidStatus) -> ConnectFailed:
    """Return the error for an HTTP answer instead of an upgrade."""
    response = error.response
    body = (response.body or b"").decode(errors="replace").strip()
    retry_after = response.headers.get("Retry-After", "")
    return ConnectFailed(
        f"{url} refused with HTTP {response.status_code} {body:.200}".rstrip(),
        status=response.status_code,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )
