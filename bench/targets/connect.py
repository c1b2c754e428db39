"""Real connections for the adapters."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from bench.targets.api_v2 import ApiV2
from bench.targets.base import OpenSession, Refused, Session, TargetConfig, WireClosed
from bench.targets.cartesia import Cartesia
from bench.targets.dashscope import DashScope
from bench.targets.deepgram import Deepgram
from bench.targets.elevenlabs import ElevenLabs
from bench.targets.http import Answer, HttpDialect, HttpSession, Request
from bench.targets.native import Native
from bench.targets.openai import OpenAI
from bench.targets.sockets import Address, Dialect, SocketSession
from engine.errors import InvalidParameter

SOCKETS: Mapping[str, Callable[[TargetConfig], Dialect]] = {
    "native": Native,
    "elevenlabs": ElevenLabs,
    "cartesia": Cartesia,
    "dashscope": DashScope,
    "deepgram": Deepgram,
}
REQUESTS: Mapping[str, Callable[[TargetConfig], HttpDialect]] = {"api_v2": ApiV2, "openai": OpenAI}
KINDS = (*SOCKETS, *REQUESTS)
_MAX_MESSAGE_BYTES = 16 << 20  # base64 of a whole sentence in one message


class SocketWire:
    """See Wire: a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, data: str | bytes) -> None:
        """See Wire."""
        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise WireClosed(str(error)) from error

    async def receive(self) -> str | bytes:
        """See Wire."""
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            raise WireClosed(str(error)) from error

    async def close(self) -> None:
        """See Wire."""
        await self._socket.close()


class HttpAnswer:
    """See Answer: aiohttp's."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status

    async def chunks(self) -> AsyncIterator[bytes]:
        """See Answer."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            raise WireClosed(str(error)) from error


class HttpPost:
    """See Post: one connection that is kept open."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=300)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[Answer]:
        """See Post."""
        body = dict(request.body)
        try:
            async with self._session.post(request.url, json=body, headers=request.headers) as got:
                yield HttpAnswer(got)
        except aiohttp.ClientError as error:
            raise WireClosed(str(error)) from error

    async def close(self) -> None:
        """See Post."""
        await self._session.close()


async def dial(address: Address) -> SocketWire:
    """Connect.

    Raises:
        Refused: If there is no such server, or it does not want us.
    """
    host = urlsplit(address.url).hostname or ""
    is_here = host == "localhost" or host.startswith("127.") or host == "::1"
    try:
        socket = await connect(
            address.url,
            subprotocols=[Subprotocol(name) for name in address.subprotocols] or None,
            additional_headers=dict(address.headers),
            compression=None,
            proxy=None if is_here else True,
            max_size=_MAX_MESSAGE_BYTES,
            max_queue=None,  # a full queue would stop the reader and hide how early data was there
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise Refused(f"no connection to {address.url}: {error or 'timed out'}") from error
    return SocketWire(socket)


def opener(kind: str, config: TargetConfig) -> OpenSession:
    """Return what opens sessions with one kind of server.

    Raises:
        InvalidParameter: Unknown kind, or the kind has not this codec.
    """
    if kind not in KINDS:
        raise InvalidParameter("kind", kind, ", ".join(KINDS))
    if kind in REQUESTS:
        REQUESTS[kind](config)  # refuses before anything is connected
    else:
        SOCKETS[kind](config)

    async def open_session() -> Session:
        if kind in REQUESTS:
            return HttpSession(REQUESTS[kind](config), HttpPost(), time.perf_counter)
        dialect = SOCKETS[kind](config)
        session = SocketSession(dialect, await dial(dialect.address()), time.perf_counter)
        await session.greet()
        return session

    return open_session
