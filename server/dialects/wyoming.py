"""Wyoming, Home Assistant's voice protocol: lines of JSON and payloads over TCP, on its own port.

It knows no keys: the port is off unless configured, and on the loopback address unless told
otherwise. A request is `synthesize` with the whole text, or `synthesize-start`, many `-chunk` and
`-stop` with a `synthesize` for older servers in between, which is not spoken again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.admission import ANONYMOUS, Guest
from server.config import is_loopback
from server.context import Audio, Context
from server.dialects.common import Caller, base_settings, context_for
from server.dialects.containers import pcm
from server.dialects.names import language, with_voice
from server.dialects.problems import Problem, problem_of, problem_of_message
from server.errors import ClientError
from server.messages import ErrorMessage
from server.runtime import Runtime, installed_version

logger = logging.getLogger(__name__)

ROUTE = "wyoming"
_VERSION = "1.5.4"  # of the protocol, as its reference library said when it learned to stream
_RATE_HZ = 24000
_MAX_LINE_BYTES = 64 * 1024
_MAX_DATA_BYTES = 256 * 1024
_IDLE_S = 300.0
# What a message that is none raises while it is taken apart, and one that does not come.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, TimeoutError)
_FORMAT = {"rate": _RATE_HZ, "width": 2, "channels": 1}


@dataclass(frozen=True, slots=True)
class Event:
    """One message."""

    type: str
    data: Mapping[str, Any]
    payload: bytes = b""


class _Hung(Exception):
    """The other side is gone or was sent away."""


async def serve_wyoming(runtime: Runtime) -> AsyncIterator[None]:
    """Listen where the configuration says, yield once, and stop after.

    Raises:
        OSError: The port cannot be had.
    """
    section = runtime.config.dialects
    if section.wyoming_port is None:
        yield
        return
    if not is_loopback(section.wyoming_host):
        logger.warning("the Wyoming port asks for no key", extra={"host": section.wyoming_host})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(runtime, reader, writer).run()

    server = await asyncio.start_server(
        serve, section.wyoming_host, section.wyoming_port, limit=_MAX_LINE_BYTES
    )
    logger.info("wyoming", extra={"port": server.sockets[0].getsockname()[1]})
    try:
        yield
    finally:
        server.close()


class _Connection:
    """One client; it speaks one text at a time."""

    def __init__(
        self, runtime: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._runtime = runtime
        self._reader = reader
        self._writer = writer

    # --- Hosted -----------------------------------------------------------------------------------

    def drain(self, deadline_s: float) -> None:
        """See Hosted: no more requests, what is spoken goes on."""
        del deadline_s
        self._reader.feed_eof()

    def close(self, code: int, reason: str) -> None:
        """See Hosted."""
        del code, reason
        self._writer.transport.abort()

    @property
    def holder(self) -> str:
        """See Hosted; this protocol has no keys."""
        return ANONYMOUS

    def revoke(self) -> None:
        """See Hosted."""
        self._writer.transport.abort()

    def bytes_queued(self) -> int:
        """See Hosted."""
        return self._writer.transport.get_write_buffer_size()

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Answer requests until the client hangs up."""
        address = self._writer.get_extra_info("peername") or ("",)
        guest = Guest(str(address[0]), ROUTE)
        try:
            self._runtime.admission.enter(guest)
        except ClientError as error:
            await self._refuse(problem_of(error))
            return
        try:
            with self._runtime.hosting(self):
                await self._serve()
        finally:
            self._runtime.admission.leave(guest)
            self._writer.close()

    async def _refuse(self, problem: Problem) -> None:
        try:
            await self._send("error", {"text": problem.message, "code": problem.code})
        except _Hung:
            pass
        self._writer.close()

    async def _serve(self) -> None:
        try:
            while (event := await self._receive()) is not None:
                try:
                    await self._handle(event)
                except ClientError as error:
                    data = {"text": error.message, "code": error.code}
                    await self._send("error", data)
        except _Hung:
            pass
        except Exception:
            logger.exception("connection failed", extra={"route": ROUTE})

    async def _handle(self, event: Event) -> None:
        match event.type:
            case "describe":
                await self._send("info", _info(self._runtime))
            case "ping":
                await self._send("pong", event.data)
            case "synthesize":
                context = self._open(event.data)
                context.append(_text(event.data))
                context.end()
                await self._speak(context)
            case "synthesize-start":
                context = self._open(event.data)
                chunks = asyncio.create_task(self._take_chunks(context), name="wyoming-chunks")
                try:
                    await self._speak(context)
                finally:
                    chunks.cancel()
                    await asyncio.gather(chunks, return_exceptions=True)
                await self._send("synthesize-stopped")

    async def _take_chunks(self, context: Context) -> None:
        """Append text until its end; a client that hangs up ends it too."""
        while (event := await self._receive()) is not None:
            if event.type == "synthesize-chunk":
                try:
                    context.append(_text(event.data))
                except ClientError as error:
                    context.cancel(error.code)
                    await self._send("error", {"text": error.message, "code": error.code})
                    return
            elif event.type == "synthesize-stop":
                context.end()
                return
        context.cancel("closed")

    def _open(self, data: Mapping[str, Any]) -> Context:
        voice = data.get("voice")
        voice = voice if isinstance(voice, Mapping) else {}
        settings = base_settings(self._runtime)
        settings = with_voice(self._runtime, settings, _word(voice, "name"))
        settings = replace(
            settings,
            format=pcm(_RATE_HZ),
            lang=language(_word(voice, "language"), settings.lang),
            style=_word(voice, "speaker") or settings.style,
        )
        return context_for(
            self._runtime, Caller(self._runtime.accounts.of(ROUTE), None), settings, route=ROUTE
        )

    async def _speak(self, context: Context) -> None:
        life = asyncio.create_task(context.run(), name="wyoming-context")
        has_started = False
        try:
            async for event in context:
                if isinstance(event, Audio) and event.payload:
                    if not has_started:
                        await self._send("audio-start", _FORMAT)
                        has_started = True
                    await self._send("audio-chunk", _FORMAT, event.payload)
                elif isinstance(event, ErrorMessage):
                    problem = problem_of_message(event)
                    await self._send("error", {"text": problem.message, "code": problem.code})
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        if has_started:
            await self._send("audio-stop")

    # --- wire -------------------------------------------------------------------------------------

    async def _receive(self) -> Event | None:
        """Return the next message, None when there are no more."""
        try:
            async with asyncio.timeout(_IDLE_S):
                line = await self._reader.readline()
                if not line:
                    return None
                head = json.loads(line)
                data = dict(head.get("data") or {})
                length = int(head.get("data_length") or 0)
                payload_length = int(head.get("payload_length") or 0)
                if not 0 <= length + payload_length <= _MAX_DATA_BYTES:
                    raise ValueError("too long")
                if length:
                    data |= json.loads(await self._reader.readexactly(length))
                payload = await self._reader.readexactly(payload_length)
                return Event(str(head["type"]), data, payload)
        except _NONSENSE as error:
            logger.info("wyoming message refused", extra={"reason": type(error).__name__})
            return None
        except (ConnectionError, asyncio.IncompleteReadError):
            return None

    async def _send(
        self, kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b""
    ) -> None:
        body = json.dumps(data, ensure_ascii=False).encode() if data else b""
        head: dict[str, object] = {"type": kind, "version": _VERSION}
        if body:
            head["data_length"] = len(body)
        if payload:
            head["payload_length"] = len(payload)
        self._writer.write(json.dumps(head).encode() + b"\n" + body + payload)
        try:
            async with asyncio.timeout(self._runtime.config.server.limits.write_stall_s):
                await self._writer.drain()
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()
            raise _Hung from None


def _text(data: Mapping[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str):
        raise ClientError("bad_message", f"text is {text!r:.40}, valid: the text to speak")
    return text


def _word(voice: Mapping[str, Any], name: str) -> str | None:
    value = voice.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ClientError("bad_message", f"voice.{name} is {value!r:.40}, valid: text")


def _info(runtime: Runtime) -> dict[str, Any]:
    source = {"name": "sovits-live", "url": ""}
    shared = {"attribution": source, "installed": True, "version": installed_version()}
    voices = [
        {
            "name": voice.id,
            "description": voice.description or voice.id,
            "languages": [str(voice.language), "zh", "en"],
            "speakers": [{"name": style} for style in voice.styles],
            **shared,
        }
        for voice in runtime.engine.voices.values()
    ]
    program = {
        "name": "sovits-live",
        "description": "Streaming speech in GPT-SoVITS voices",
        "voices": voices,
        "supports_synthesize_streaming": True,
        **shared,
    }
    return {"tts": [program]}
