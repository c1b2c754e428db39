"""A raw WebSocket client for dialects, of another library than the server's."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.server.live import Live

_PATIENCE_S = 10


class Peer:
    """A connection that keeps what it receives, in order: dicts, and bytes."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.log: list[Any] = []

    async def send(self, *messages: dict[str, Any]) -> None:
        """Send JSON messages."""
        for message in messages:
            await self.ws.send(json.dumps(message))

    async def receive(self) -> Any:
        """Return the next message."""
        data = await asyncio.wait_for(self.ws.recv(), _PATIENCE_S)
        message = json.loads(data) if isinstance(data, str) else data
        self.log.append(message)
        return message

    async def until(self, **fields: object) -> dict[str, Any]:
        """Return the next JSON message with these fields."""
        while True:
            message = await self.receive()
            if isinstance(message, dict) and fields.items() <= message.items():
                return message

    async def binary(self) -> bytes:
        """Return the next binary message."""
        while True:
            message = await self.receive()
            if isinstance(message, bytes):
                return message

    async def rest(self) -> tuple[int, str]:
        """Receive until the server closes; return its code and reason."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code, closed.rcvd.reason

    async def quiet(self, time_s: float) -> bool:
        """Return True if nothing comes for a while."""
        try:
            async with asyncio.timeout(time_s):
                await self.receive()
        except TimeoutError:
            return True
        return False

    def audio(self, key: str = "audio", **fields: object) -> bytes:
        """Return all base64 audio received in messages with these fields."""
        found = [m for m in self.log if isinstance(m, dict) and fields.items() <= m.items()]
        return b"".join(base64.b64decode(m[key]) for m in found if m.get(key))

    def bytes(self) -> bytes:
        """Return all binary audio received."""
        return b"".join(m for m in self.log if isinstance(m, bytes))


@asynccontextmanager
async def peer(live: Live, path: str, **options: Any) -> AsyncIterator[Peer]:
    """Connect to a path of the server."""
    url = live.http.replace("http", "ws", 1) + path
    async with connect(url, compression=None, proxy=None, **options) as ws:
        yield Peer(ws)


def int16(data: bytes) -> NDArray[np.int16]:
    """Return 16-bit PCM as samples; an odd number of bytes is an error."""
    return np.frombuffer(data, "<i2")
