"""One WebSocket as a session uses it: the only file of the native protocol that touches one."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

_LOST = (None, 1006)  # close codes of a socket that broke: nobody said goodbye


class Link:
    """A socket that is open, until it is not.

    Attributes:
        released: Set when its session has done with it.
    """

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._ws = ws
        self._transport = transport
        self.released = asyncio.Event()

    @property
    def close_code(self) -> int | None:
        """How it ended."""
        return self._ws.close_code

    @property
    def is_lost(self) -> bool:
        """True if it broke, False if it was closed."""
        return self._ws.close_code in _LOST

    async def receive(self) -> str | bytes | None:
        """Return the next message, None when there will be none."""
        message = await self._ws.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            data: str | bytes = message.data
            return data
        return None

    async def send(self, data: str | bytes) -> None:
        """Write a message and wait until the transport takes more.

        Raises:
            ConnectionError: If the socket is gone.
        """
        if isinstance(data, str):
            await self._ws.send_str(data)
        else:
            await self._ws.send_bytes(data)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye and wait for the answer, for a moment."""
        await self._ws.close(code=code, message=reason.encode())

    def abort(self) -> None:
        """Drop the connection: its other end does not read."""
        if self._transport is not None:
            self._transport.abort()
