"""A real server on a real port with the scripted engine, and an independent client library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from engine.types import Language
from server.app import make_runner
from server.config import Config, load
from server.frames import Header, unpack
from server.runtime import Parts, Runtime
from tests.fakes import Script, ScriptedEngine, ScriptedFrontend


class Live:
    """A running server."""

    def __init__(self, runtime: Runtime, engine: ScriptedEngine, port: int) -> None:
        self.runtime = runtime
        self.engine = engine
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/v1/tts/ws"

    @asynccontextmanager
    async def session(self, query: str = "", **options: Any) -> AsyncIterator[Client]:
        """Connect and take the greeting."""
        options.setdefault("subprotocols", ["sovits.tts.v1"])
        async with connect(self.ws + query, compression=None, proxy=None, **options) as ws:
            client = Client(ws)
            client.ready = await client.next("ready")
            yield client


class Client:
    """A client that keeps everything it receives, in order."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.ready: dict[str, Any] = {}
        self.log: list[Any] = []

    async def send(self, kind: str, **fields: object) -> None:
        """Send one JSON message."""
        await self.ws.send(json.dumps({"type": kind, **fields}))

    async def receive(self) -> Any:
        """Return the next message: a dict, or (header, packets)."""
        data = await self.ws.recv()
        message = json.loads(data) if isinstance(data, str) else unpack(data)
        self.log.append(message)
        return message

    async def next(self, *kinds: str, ctx: str | None = None) -> dict[str, Any]:
        """Return the next JSON message of one of these types (and context)."""
        while True:
            message = await self.receive()
            if isinstance(message, dict) and message["type"] in kinds:
                if ctx is None or message.get("ctx") == ctx:
                    return message

    async def packet(self, alias: int | None = None) -> Header:
        """Return the header of the next binary message."""
        while True:
            message = await self.receive()
            if isinstance(message, tuple) and alias in (None, message[0].alias):
                return message[0]  # type: ignore[no-any-return]

    async def rest(self) -> None:
        """Receive until the server closes."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()

    def headers(self, alias: int | None = None) -> list[Header]:
        """Headers of the binary messages received."""
        found = [item[0] for item in self.log if isinstance(item, tuple)]
        return [header for header in found if alias in (None, header.alias)]

    def kinds(self) -> list[str]:
        """Types of the JSON messages received."""
        return [item["type"] for item in self.log if isinstance(item, dict)]


@asynccontextmanager
async def serve(
    *settings: str,
    script: Script | None = None,
    engine: ScriptedEngine | None = None,
    is_awaited: bool = True,
) -> AsyncIterator[Live]:
    """Run a server with `--set` settings."""
    config: Config = load(settings=settings, environment={})
    engine = engine or ScriptedEngine(script)
    languages = (Language.EN, Language.ZH)
    runtime = Runtime(config, Parts(engine, lambda info: ScriptedFrontend(), languages))
    runner = make_runner(runtime)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        if is_awaited:
            await runtime.wait_started()
        yield Live(runtime, engine, runner.addresses[0][1])
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
