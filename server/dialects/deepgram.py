"""Deepgram: `/v1/speak` over WebSocket and HTTP.

Audio on the socket carries no label, so turns (what lies between two Flush messages) are spoken
strictly one after the other, each as a context of its own: its last sample has been sent when
Flushed is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from server.context import Audio, Context
from server.dialects.common import Speaking, admitted, answer, base_settings, json_body
from server.dialects.containers import (
    Target,
    flac_target,
    mp3_target,
    ogg_target,
    pcm,
    raw_target,
    wav_g711_target,
    wav_target,
)
from server.dialects.names import clamp_speed, with_voice
from server.dialects.problems import Problem, answering, problem_of_message
from server.dialects.sockets import Connection, serve_socket
from server.errors import ClientError
from server.messages import ContextDone, ErrorMessage
from server.runtime import Runtime, installed_version
from server.settings import SAMPLE_RATES_HZ, Format, Settings

ROUTE = "deepgram"
_IDLE_S = 300.0
_MAX_TURNS = 100  # that wait; an empty one costs memory too
_RATE_HZ = 24000
_MP3_RATE_HZ, _MP3_BITRATE = 22050, 48_000  # this service's own


def _body(problem: Problem) -> Mapping[str, object]:
    return {
        "err_code": problem.code.upper(),
        "err_msg": problem.message,
        "request_id": problem.request_id,
    }


_answering = answering(_body)


class Deepgram:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        router.add_get("/v1/speak", _answering(self._connect))
        router.add_post("/v1/speak", _answering(self._speak))

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(request, self._runtime, _Socket, route=ROUTE)

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        with admitted(request, self._runtime) as caller:
            text = (await json_body(request)).get("text")
            if not isinstance(text, str):
                raise ClientError("bad_message", f"text is {text!r:.40}, valid: the text to speak")
            settings = _settings(self._runtime, request.query)
            target = _file_target(request.query, self._runtime)
            speaking = Speaking(text, settings, target, ROUTE)
            headers = {"dg-model-name": settings.voice, "dg-char-count": str(len(text))}
            return await answer(request, self._runtime, caller, speaking, headers=headers)


@dataclass(slots=True, eq=False)
class _Turn:
    """What is spoken between two flushes.

    Attributes:
        texts: What came before it was its turn.
    """

    texts: list[str] = field(default_factory=list)
    is_flushed: bool = False
    context: Context | None = None
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class _Socket:
    """See Dialect."""

    idle_timeout_s = _IDLE_S

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        query = connection.request.query
        self._settings = replace(_settings(connection.runtime, query), format=_socket_format(query))
        connection.runtime.check(self._settings)
        self._turns: deque[_Turn] = deque()  # the first is being spoken
        self._num_flushed = 0
        self._num_cleared = 0
        self._is_ending = False

    async def start(self) -> None:
        """See Dialect: Metadata comes first."""
        voice = self._settings.voice
        metadata = {
            "type": "Metadata",
            "request_id": self._connection.id,
            "model_name": voice,
            "model_version": installed_version(),
            "model_uuid": self._connection.runtime.engine.info.fingerprint,
        }
        await self._connection.send(metadata)

    async def receive(self, message: Mapping[str, Any]) -> None:
        """See Dialect."""
        match message.get("type"):
            case "Speak":
                self._say(message.get("text"))
            case "Flush":
                self._last().is_flushed = True
            case "Clear":
                await self._clear()
                return
            case "Close":
                self._is_ending = True
            case kind:
                valid = "Speak, Flush, Clear, Close"
                raise ClientError("bad_message", f"type is {kind!r:.40}, valid: {valid}")
        await self._advance()

    async def report(self, problem: Problem) -> None:
        """See Dialect; a warning here is not fatal."""
        message = {"type": "Warning", "description": problem.message, "code": problem.code.upper()}
        await self._connection.send(message)

    def _last(self) -> _Turn:
        """Return the turn that text goes to.

        Raises:
            ClientError: buffer_full, if another turn would be one too many.
        """
        if not self._turns or self._turns[-1].is_flushed:
            if len(self._turns) >= _MAX_TURNS:
                message = f"{len(self._turns)} turns wait to be spoken, valid: up to {_MAX_TURNS}"
                raise ClientError("buffer_full", message)
            self._turns.append(_Turn())
        return self._turns[-1]

    def _say(self, text: object) -> None:
        if not isinstance(text, str):
            raise ClientError("bad_message", f"text is {text!r:.40}, valid: text")
        turn = self._last()
        if turn.context is not None:
            self._connection.append(turn.context, text)
            return
        waiting = sum(len(part) for other in self._turns for part in other.texts) + len(text)
        most = self._connection.runtime.config.server.limits.max_buffer_chars
        if waiting > most:
            message = f"{waiting} characters would wait to be spoken, valid: up to {most}"
            raise ClientError("buffer_full", message)
        turn.texts.append(text)

    async def _advance(self) -> None:
        """Let the first turn be spoken; hang up after the last one."""
        while self._turns:
            turn = self._turns[0]
            if turn.context is None and any(turn.texts):
                turn.context = self._connection.open(self._settings, self._follow)
                for text in turn.texts:
                    self._connection.append(turn.context, text)
                turn.texts = []
            if turn.context is not None:
                if turn.is_flushed or self._is_ending:
                    turn.context.end()
                return
            if not turn.is_flushed and not self._is_ending:
                return
            await self._over(turn)  # nothing was to be said
        if self._is_ending:
            await self._connection.hang_up()

    async def _over(self, turn: _Turn) -> None:
        """Drop the first turn, which has been spoken."""
        self._turns.popleft()
        if turn.is_flushed:
            await self._connection.send({"type": "Flushed", "sequence_id": self._num_flushed})
            self._num_flushed += 1

    async def _clear(self) -> None:
        """Drop everything; what has not been sent by now never is."""
        turns, self._turns = self._turns, deque()
        if turns and turns[0].context is not None:
            turns[0].context.cancel()
            await turns[0].is_over.wait()
        await self._connection.send({"type": "Cleared", "sequence_id": self._num_cleared})
        self._num_cleared += 1

    async def _follow(self, context: Context) -> None:
        turn = self._turns[0]
        try:
            async for event in context:
                match event:
                    case Audio() if event.payload:
                        await self._connection.send_bytes(event.payload)
                    case ContextDone():
                        await self._over(turn)
                        await self._advance()
                    case ErrorMessage():
                        await self.report(problem_of_message(event))
                        await self._over(turn)
                        await self._advance()
        finally:
            turn.is_over.set()


def _settings(runtime: Runtime, query: Mapping[str, str]) -> Settings:
    settings = base_settings(runtime)
    settings = with_voice(runtime, settings, query.get("model"))
    try:
        speed = float(query.get("speed", settings.speed))
    except ValueError:
        text = f"speed is {query['speed']!r:.40}, valid: a number"
        raise ClientError("bad_message", text) from None
    return replace(settings, speed=clamp_speed(speed))


def _rate(query: Mapping[str, str], usual: int) -> int:
    text = query.get("sample_rate", str(usual))
    rate = int(text) if text.isdecimal() and len(text) < 7 else 0
    if rate not in SAMPLE_RATES_HZ["pcm_s16le"]:
        valid = ", ".join(map(str, SAMPLE_RATES_HZ["pcm_s16le"]))
        raise ClientError("unsupported_format", f"sample_rate is {text!r:.20}, valid: {valid}")
    return rate


def _socket_format(query: Mapping[str, str]) -> Format:
    """Return what the socket carries.

    Raises:
        ClientError: unsupported_format.
    """
    encoding = query.get("encoding", "linear16")
    if encoding == "linear16":
        return pcm(_rate(query, _RATE_HZ))
    if encoding in ("mulaw", "alaw") and _rate(query, 8000) == 8000:
        return Format(codec=encoding, rate=8000)  # type: ignore[arg-type]
    valid = "linear16, and mulaw and alaw at 8000"
    raise ClientError("unsupported_format", f"encoding is {encoding!r:.40}, valid: {valid}")


def _file_target(query: Mapping[str, str], runtime: Runtime) -> Target:
    """Return what an HTTP answer carries.

    Raises:
        ClientError: unsupported_format.
    """
    is_bare = query.get("container") == "none"
    match query.get("encoding", "mp3"):
        case "mp3":
            return mp3_target(_rate(query, _MP3_RATE_HZ), _MP3_BITRATE)
        case "opus":
            return ogg_target()
        case "flac":
            return flac_target(_rate(query, _RATE_HZ))
        case "linear16":
            rate = _rate(query, _RATE_HZ)
            return raw_target(pcm(rate)) if is_bare else wav_target(rate)
        case "mulaw" | "alaw":
            audio = _socket_format(query)
            return raw_target(audio) if is_bare else wav_g711_target(audio)
        case "aac" if runtime.config.dialects.missing_format == "ogg":
            return ogg_target()
        case encoding:
            valid = "linear16, mulaw, alaw, mp3, opus, flac"
            raise ClientError("unsupported_format", f"encoding is {encoding!r:.40}, valid: {valid}")
