"""ElevenLabs: `stream-input`, `multi-stream-input`, HTTP `stream` and `convert`, `voices`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from server.context import Audio, Context
from server.dialects.alignment import Aligner, Run
from server.dialects.common import base_settings
from server.dialects.containers import Target, make_container
from server.dialects.elevenlabs_http import ElevenLabsHttp, answering_as_elevenlabs, target_of
from server.dialects.names import language, with_speed, with_voice
from server.dialects.problems import Problem, problem_of_message
from server.dialects.sockets import Connection, serve_socket
from server.errors import ClientError
from server.messages import (
    ContextCancelled,
    ContextDone,
    ContextStarted,
    ErrorMessage,
    FlushDone,
)
from server.runtime import Runtime
from server.settings import Settings

ROUTE = "elevenlabs"
_DEFAULT = "default"  # the context of messages that name none
_CLOSE_WAIT_S = 1.5  # clients wait 2 s for the close
_INACTIVITY_S, _MAX_INACTIVITY_S = 20.0, 180.0


class ElevenLabs:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        path = "/v1/text-to-speech/{voice}"
        router.add_get(f"{path}/stream-input", answering_as_elevenlabs(self._single))
        router.add_get(f"{path}/multi-stream-input", answering_as_elevenlabs(self._multi))
        ElevenLabsHttp(self._runtime).add_routes(router)

    async def _single(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(
            request, self._runtime, lambda c: _Socket(c, is_multi=False), route=ROUTE
        )

    async def _multi(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(
            request, self._runtime, lambda c: _Socket(c, is_multi=True), route=ROUTE
        )


@dataclass(slots=True, eq=False)
class _Turn:
    """What is known about one context beside what it knows itself."""

    context: Context
    has_unflushed: bool = False
    num_flushes: int = 0  # not done yet
    drops_rest: bool = False  # closed: what was not flushed is not spoken


class _Socket:
    """See Dialect."""

    def __init__(self, connection: Connection, *, is_multi: bool) -> None:
        self._connection = connection
        self._is_multi = is_multi
        query = connection.request.query
        self._target: Target = target_of(query.get("output_format"))
        self._settings = _settings(connection)
        self._is_auto = _is_true(query.get("auto_mode"))
        self._turns: dict[str, _Turn] = {}
        base = connection.runtime.config.dialects.alignment_base
        is_sync = _is_true(query.get("sync_alignment"))
        self._is_relative = base == "chunk" or (base == "auto" and not is_sync)
        self.idle_timeout_s = _inactivity(query.get("inactivity_timeout"))

    async def start(self) -> None:
        """See Dialect; this service says nothing first."""

    async def receive(self, message: Mapping[str, Any]) -> None:
        """See Dialect."""
        name = _DEFAULT
        if self._is_multi:
            given = message.get("context_id", message.get("contextId"))
            name = given if isinstance(given, str) and given else _DEFAULT
            if message.get("close_socket"):
                await self._close_socket()
                return
        text = message.get("text")
        if text is not None and not isinstance(text, str):
            raise ClientError("bad_message", f"text is {text!r:.40}, valid: text", ctx=name)
        if message.get("close_context"):
            self._close(name, is_immediate=bool(message.get("immediate")))
        elif text == "" and not self._is_multi:
            await self._end()
        else:
            self._say(name, text, message)

    async def report(self, problem: Problem) -> None:
        """See Dialect."""
        if self._is_multi:
            await self._connection.send({"error": problem.message, "code": problem.code})
            return
        await self._fail(problem)

    def _say(self, name: str, text: str | None, message: Mapping[str, Any]) -> None:
        turn = self._turns.get(name)
        if turn is None:
            if not text:
                return  # a keepalive, or a flush of what is over
            turn = self._open(name, message.get("voice_settings"))
            text = "" if text == " " else text  # it opens and is never spoken
        if text:
            self._connection.append(turn.context, text)
            turn.has_unflushed = turn.has_unflushed or not self._is_auto
        if message.get("flush"):
            turn.context.flush()
            turn.has_unflushed = False
            turn.num_flushes += 1

    def _open(self, name: str, voice_settings: object) -> _Turn:
        settings = replace(self._settings, format=self._target.audio)
        if isinstance(voice_settings, Mapping):
            settings = with_speed(settings, voice_settings.get("speed"))
        context = self._connection.open(settings, self._follow, ctx=name)
        self._turns[name] = turn = _Turn(context)
        return turn

    async def _end(self) -> None:
        turn = self._turns.get(_DEFAULT)
        if turn is not None:
            turn.context.end()
            return
        await self._connection.send({"isFinal": True})
        await self._connection.hang_up()

    def _close(self, name: str, *, is_immediate: bool) -> None:
        """End a context: what was flushed is spoken, the rest is not."""
        turn = self._turns.get(name)
        if turn is None:
            return
        if is_immediate or (turn.has_unflushed and not turn.num_flushes):
            turn.context.cancel()
        elif turn.has_unflushed:
            turn.drops_rest = True
        else:
            turn.context.end()

    async def _close_socket(self) -> None:
        for name in list(self._turns):
            self._close(name, is_immediate=False)
        await self._connection.wait_idle(_CLOSE_WAIT_S)
        await self._connection.hang_up()

    # --- events -----------------------------------------------------------------------------------

    async def _follow(self, context: Context) -> None:
        container = make_container(self._target)
        aligner = Aligner(context, is_relative=self._is_relative)
        async for event in context:
            aligner.note(event)
            match event:
                case ContextStarted():
                    container.start(event)
                case Audio():
                    await self._send(context, container.add(event.packets), aligner)
                case FlushDone():
                    self._flushed(context)
                case ContextDone():
                    await self._send(context, container.finish(event), aligner, is_last=True)
                    await self._finish(context)
                case ContextCancelled():
                    await self._finish(context)
                case ErrorMessage():
                    self._forget(context)
                    await self._report_failure(context, problem_of_message(event))

    def _flushed(self, context: Context) -> None:
        turn = self._turns.get(context.ctx)
        if turn is not None:
            turn.num_flushes -= 1
            if turn.drops_rest and not turn.num_flushes:
                context.cancel()

    async def _send(
        self, context: Context, data: bytes, aligner: Aligner, *, is_last: bool = False
    ) -> None:
        """Send audio with the alignment that is there; at the end alignment may come alone."""
        run = aligner.take() if data or is_last else None
        if not data and run is None:
            return
        shown = None if run is None else _alignment(run)
        message: dict[str, object] = {
            "audio": base64.b64encode(data).decode() if data else None,
            "isFinal": None,
            "alignment": shown,
            "normalizedAlignment": shown,
        }
        await self._connection.send(message | self._labels(context))

    async def _finish(self, context: Context) -> None:
        self._forget(context)
        await self._connection.send({"isFinal": True} | self._labels(context))
        if not self._is_multi:
            await self._connection.hang_up()

    async def _report_failure(self, context: Context, problem: Problem) -> None:
        if not self._is_multi:
            await self._fail(problem)
            return
        message = {"error": problem.message, "code": problem.code}
        await self._connection.send(message | self._labels(context))
        await self._connection.send({"isFinal": True} | self._labels(context))

    async def _fail(self, problem: Problem) -> None:
        message = {"message": problem.message, "error": problem.code, "code": 1008}
        await self._connection.send(message)
        await self._connection.hang_up(1008, problem.code)

    def _forget(self, context: Context) -> None:
        if self._turns.get(context.ctx, None) is not None:
            if self._turns[context.ctx].context is context:
                del self._turns[context.ctx]

    def _labels(self, context: Context) -> dict[str, object]:
        return {"contextId": context.ctx} if self._is_multi else {}


def _settings(connection: Connection) -> Settings:
    runtime, request = connection.runtime, connection.request
    settings = base_settings(runtime)
    settings = with_voice(runtime, settings, request.match_info["voice"])
    chunking = replace(settings.chunking, auto=_is_true(request.query.get("auto_mode")))
    seed = request.query.get("seed", "")
    settings = replace(
        settings,
        lang=language(request.query.get("language_code"), settings.lang),
        chunking=chunking,
        seed=int(seed) if seed.isdecimal() and len(seed) < 16 else settings.seed,
        timings=("char",),
        timing_mode="sync",
    )
    runtime.check(settings)
    return settings


def _alignment(run: Run) -> dict[str, object]:
    return {
        "chars": run.chars,
        "charStartTimesMs": run.starts_ms,
        "charDurationsMs": run.durations_ms,
    }


def _is_true(text: str | None) -> bool:
    return text is not None and text.lower() in ("true", "1")


def _inactivity(text: str | None) -> float:
    try:
        return min(_MAX_INACTIVITY_S, max(1.0, float(text or _INACTIVITY_S)))
    except ValueError:
        return _INACTIVITY_S
