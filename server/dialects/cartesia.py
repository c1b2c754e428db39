"""Cartesia: `/tts/websocket`, `/tts/bytes`, `/voices`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from server.context import Audio, Context
from server.dialects.common import Speaking, admitted, answer, base_settings, json_body
from server.dialects.containers import (
    Target,
    float_target,
    make_container,
    mp3_target,
    pcm,
    raw_target,
    wav_target,
)
from server.dialects.names import language, with_speed, with_voice
from server.dialects.problems import Problem, answering, problem_of_message
from server.dialects.sockets import Connection, serve_socket
from server.errors import ClientError
from server.messages import ContextDone, ContextStarted, ErrorMessage, FlushDone, TimingEvent
from server.runtime import Runtime
from server.settings import Format, Settings, Timing

ROUTE = "cartesia"
_IDLE_S = 300.0
_G711 = {"pcm_mulaw": "mulaw", "pcm_alaw": "alaw"}
_MAX_MP3_BITRATE = 320_000
_OK, _PARTIAL = 200, 206
_SPEEDS = {"slow": 0.8, "slowest": 0.6, "normal": 1.0, "fast": 1.2, "fastest": 1.5}


def _body(problem: Problem) -> dict[str, object]:
    return {
        "error_code": problem.code,
        "title": problem.code.replace("_", " ").capitalize(),
        "message": problem.message,
        "status_code": problem.status,
        "request_id": problem.request_id,
        "doc_url": None,
    }


_answering = answering(_body)


class Cartesia:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        router.add_get("/tts/websocket", _answering(self._connect))
        router.add_post("/tts/bytes", _answering(self._speak))
        router.add_get("/voices", _answering(self._list))
        router.add_get("/voices/", _answering(self._list))

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(request, self._runtime, _Socket, route=ROUTE)

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        with admitted(request, self._runtime) as caller:
            body = await json_body(request)
            settings = _settings(self._runtime, body)
            target = _target(body.get("output_format"), has_files=True)
            speaking = Speaking(_transcript(body), settings, target, ROUTE)
            return await answer(request, self._runtime, caller, speaking)

    async def _list(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            rows = [
                {
                    "id": voice.id,
                    "name": voice.id,
                    "description": voice.description,
                    "language": str(voice.language),
                    "is_owner": True,
                    "is_public": False,
                    "created_at": "1970-01-01T00:00:00Z",
                }
                for voice in self._runtime.engine.voices.values()
            ]
            return web.json_response({"data": rows, "has_more": False, "next_page": None})


@dataclass(slots=True, eq=False)
class _Turn:
    context: Context
    target: Target
    num_flushes: int = 0
    is_silent: bool = False  # cancelled: nothing more is said about it


class _Socket:
    """See Dialect."""

    idle_timeout_s = _IDLE_S

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turns: dict[str, _Turn] = {}
        self._last_ctx = ""  # of the message being handled

    async def start(self) -> None:
        """See Dialect; this service says nothing first."""

    async def receive(self, message: Mapping[str, Any]) -> None:
        """See Dialect."""
        ctx = message.get("context_id")
        self._last_ctx = ctx = ctx if isinstance(ctx, str) else ""
        if message.get("cancel"):
            self._cancel(ctx)
            return
        text, turn = _transcript(message), self._turns.get(ctx)
        if turn is not None and turn.context.is_ended:
            raise ClientError("context_conflict", f"context {ctx!r:.80} takes no more text")
        if turn is None:
            turn = self._open(ctx, message)
        if text:
            self._connection.append(turn.context, text)
        if message.get("flush"):
            turn.num_flushes += 1
            turn.context.flush(turn.num_flushes)
        if not message.get("continue"):
            turn.context.end()

    async def report(self, problem: Problem) -> None:
        """See Dialect; clients look up the context of every message."""
        await self._error(self._last_ctx, problem)

    def _open(self, ctx: str, message: Mapping[str, Any]) -> _Turn:
        target = _target(message.get("output_format"), has_files=False)
        settings = _settings(self._connection.runtime, message)
        settings = replace(settings, format=target.audio, timings=_timings(message))
        context = self._connection.open(settings, self._follow, ctx=ctx)
        self._turns[ctx] = turn = _Turn(context, target)
        return turn

    def _cancel(self, ctx: str) -> None:
        turn = self._turns.pop(ctx, None)
        if turn is not None:
            turn.is_silent = True
            turn.context.cancel()

    # --- events -----------------------------------------------------------------------------------

    async def _follow(self, context: Context) -> None:
        turn = self._turns[context.ctx]
        container = make_container(turn.target)
        clock = self._connection.runtime.services.clock
        before_s = clock()
        async for event in context:
            match event:
                case ContextStarted():
                    container.start(event)
                case Audio():
                    data = container.add(event.packets)
                    step_ms, before_s = (clock() - before_s) * 1000, clock()
                    await self._chunk(context, data, step_ms)
                case TimingEvent():
                    await self._timestamps(context, event)
                case FlushDone():
                    fields = {"flush_done": True, "flush_id": event.id}
                    await self._send(context, "flush_done", fields)
                case ContextDone():
                    self._forget(turn)
                    await self._send(context, "done", {}, is_done=True)
                case ErrorMessage() if not turn.is_silent:
                    self._forget(turn)
                    await self._error(context.ctx, problem_of_message(event))

    async def _chunk(self, context: Context, data: bytes, step_ms: float) -> None:
        if data:
            encoded = base64.b64encode(data).decode()
            fields = {"data": encoded, "step_time": round(step_ms, 2)}
            await self._send(context, "chunk", fields)

    async def _timestamps(self, context: Context, event: TimingEvent) -> None:
        spans = _words(context.text, event)
        if spans:
            words = {
                "words": [word for word, _, _ in spans],
                "start": [begins / 1000 for _, begins, _ in spans],
                "end": [ends / 1000 for _, _, ends in spans],
            }
            await self._send(context, "timestamps", {"word_timestamps": words})
        if event.phonemes:
            phonemes = {
                "phonemes": [symbol for symbol, *_ in event.phonemes],
                "start": [begins / 1000 for _, _, _, begins, _ in event.phonemes],
                "end": [ends / 1000 for _, _, _, _, ends in event.phonemes],
            }
            await self._send(context, "phoneme_timestamps", {"phoneme_timestamps": phonemes})

    async def _send(
        self, context: Context, kind: str, fields: Mapping[str, object], *, is_done: bool = False
    ) -> None:
        status = _OK if is_done else _PARTIAL
        head = {"type": kind, "context_id": context.ctx, "done": is_done, "status_code": status}
        await self._connection.send({**head, **fields})

    async def _error(self, ctx: str, problem: Problem) -> None:
        head: dict[str, object] = {"type": "error", "context_id": ctx, "done": True}
        await self._connection.send(head | _body(problem))

    def _forget(self, turn: _Turn) -> None:
        if self._turns.get(turn.context.ctx) is turn:
            del self._turns[turn.context.ctx]


def _words(text: str, event: TimingEvent) -> list[tuple[str, int, int]]:
    """Return (word, begin, end); a mark belongs to the word before it, as in this service."""
    words: list[tuple[str, int, int]] = []
    for start, end, begins, ends in event.words or ():
        word = text[start:end]
        if any(char.isalnum() for char in word):
            words.append((word, begins, ends))
        elif words:
            words[-1] = (words[-1][0] + word, words[-1][1], ends)
    return words


def _transcript(message: Mapping[str, Any]) -> str:
    text = message.get("transcript")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ClientError("bad_message", f"transcript is {text!r:.40}, valid: text")
    return text


def _settings(runtime: Runtime, message: Mapping[str, Any]) -> Settings:
    settings = base_settings(runtime)
    settings = with_voice(runtime, settings, _voice(message.get("voice")))
    named = message.get("language")
    settings = replace(
        settings, lang=language(named if isinstance(named, str) else None, settings.lang)
    )
    speed = message.get("speed")
    config = message.get("generation_config")
    if isinstance(config, Mapping) and config.get("speed") is not None:
        speed = config["speed"]
    if isinstance(speed, str):
        speed = _SPEEDS.get(speed)
    return _with_delay(with_speed(settings, speed), message.get("max_buffer_delay_ms"))


def _with_delay(settings: Settings, delay_ms: object) -> Settings:
    """Take how long text may wait; 0: the client cuts, each message is spoken as it comes."""
    if not isinstance(delay_ms, int) or isinstance(delay_ms, bool):
        return settings
    chunking = settings.chunking
    chunking = replace(
        chunking,
        auto=delay_ms <= 0,
        idle_flush_ms=min(30_000, max(50, delay_ms)),
        first_chunk_max_wait_ms=min(chunking.first_chunk_max_wait_ms, max(0, delay_ms)),
    )
    return replace(settings, chunking=chunking)


def _voice(voice: object) -> str | None:
    if isinstance(voice, Mapping):
        if voice.get("mode", "id") != "id":
            raise ClientError("bad_message", f"voice.mode is {voice['mode']!r:.40}, valid: id")
        voice = voice.get("id")
    if voice is None or isinstance(voice, str):
        return voice
    raise ClientError("bad_message", f"voice is {voice!r:.40}, valid: an id")


def _timings(message: Mapping[str, Any]) -> tuple[Timing, ...]:
    found: list[Timing] = []
    if message.get("add_timestamps"):
        found.append("word")
    if message.get("add_phoneme_timestamps"):
        found.append("phoneme")
    return tuple(found)


def _target(wanted: object, *, has_files: bool) -> Target:
    """Return what an `output_format` stands for.

    Raises:
        ClientError: bad_message or unsupported_format.
    """
    if not isinstance(wanted, Mapping):
        raise ClientError("bad_message", f"output_format is {wanted!r:.40}, valid: an object")
    container, encoding = wanted.get("container", "raw"), wanted.get("encoding", "pcm_s16le")
    rate = wanted.get("sample_rate", 44100)
    if not isinstance(rate, int) or isinstance(rate, bool) or not 8000 <= rate <= 48000:
        valid = "8000 to 48000"
        raise ClientError(
            "unsupported_format", f"output_format.sample_rate is {rate!r:.40}, valid: {valid}"
        )
    if has_files and container == "mp3":
        bitrate = wanted.get("bit_rate")
        if not isinstance(bitrate, int) or not 0 < bitrate <= _MAX_MP3_BITRATE:
            bitrate = 128_000
        return mp3_target(rate, bitrate)
    if has_files and container == "wav":
        return wav_target(rate)
    if container != "raw":
        valid = "raw, wav, mp3" if has_files else "raw"
        raise ClientError(
            "unsupported_format", f"output_format.container is {container!r:.40}, valid: {valid}"
        )
    if encoding == "pcm_f32le":
        return float_target(rate)
    if encoding == "pcm_s16le":
        return raw_target(pcm(rate))
    if isinstance(encoding, str) and encoding in _G711 and rate == 8000:
        return raw_target(Format(codec=_G711[encoding], rate=8000))  # type: ignore[arg-type]
    valid = "pcm_s16le, pcm_f32le, and pcm_mulaw and pcm_alaw at 8000"
    raise ClientError(
        "unsupported_format", f"output_format.encoding is {encoding!r:.40}, valid: {valid}"
    )
