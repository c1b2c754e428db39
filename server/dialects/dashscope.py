"""Alibaba's DashScope CosyVoice: `/api-ws/v1/inference`, one task at a time on a socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from server.context import Audio, Context
from server.dialects.common import base_settings
from server.dialects.containers import (
    Target,
    make_container,
    mp3_target,
    ogg_target,
    pcm,
    raw_target,
    wav_target,
)
from server.dialects.names import language, with_speed, with_voice
from server.dialects.problems import Problem, answering, problem_of_message
from server.dialects.sockets import Connection, serve_socket
from server.errors import ClientError
from server.messages import (
    ContextCancelled,
    ContextDone,
    ContextStarted,
    ErrorMessage,
    SegmentDone,
    SegmentStarted,
    TimingEvent,
)
from server.runtime import Runtime
from server.settings import SAMPLE_RATES_HZ, Settings

ROUTE = "dashscope"
_PATH = "/api-ws/v1/inference"
_IDLE_S = 60.0
_DEFAULT_RATE_HZ = 22050
_ANY = ("", "default", None)


def _body(problem: Problem) -> Mapping[str, object]:
    return {"code": problem.code, "message": problem.message, "request_id": problem.request_id}


_answering = answering(_body)


class DashScope:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them; clients write the path with and without the slash."""
        for path in (_PATH, f"{_PATH}/"):
            router.add_get(path, _answering(self._connect))

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(request, self._runtime, _Socket, route=ROUTE)


class _Socket:
    """See Dialect."""

    idle_timeout_s = _IDLE_S

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context: Context | None = None  # of the task that runs
        self._target = raw_target(pcm(_DEFAULT_RATE_HZ))
        self._last_task = ""  # of the message being handled

    async def start(self) -> None:
        """See Dialect; this service says nothing first."""

    async def receive(self, message: Mapping[str, Any]) -> None:
        """See Dialect."""
        header, payload = _object(message, "header"), _object(message, "payload")
        task = header.get("task_id")
        if not isinstance(task, str) or not 1 <= len(task) <= 128:
            raise ClientError("bad_message", f"header.task_id is {task!r:.40}, valid: a text")
        self._last_task = task
        match header.get("action"):
            case "run-task":
                await self._run(task, payload)
            case "continue-task":
                self._continue(task, _object(payload, "input"))
            case "finish-task":
                self._finish(task, _object(payload, "input"))
            case action:
                valid = "run-task, continue-task, finish-task"
                raise ClientError("bad_message", f"header.action is {action!r:.40}, valid: {valid}")

    async def report(self, problem: Problem) -> None:
        """See Dialect; a task that is refused something is over."""
        context = self._context
        if context is not None and context.ctx == self._last_task:
            self._context = None
            context.cancel()
        await self._failed(self._last_task, problem)

    async def _run(self, task: str, payload: Mapping[str, Any]) -> None:
        if self._context is not None:
            running = self._context.ctx
            raise ClientError("context_conflict", f"task {running!r:.80} runs on this socket")
        parameters = _object(payload, "parameters")
        self._target = _target(parameters)
        settings = replace(
            _settings(self._connection.runtime, parameters), format=self._target.audio
        )
        # Refused settings raise before the task counts as started.
        self._context = self._connection.open(settings, self._follow, ctx=task)
        await self._event(task, "task-started")
        self._say(_object(payload, "input").get("text"))

    def _continue(self, task: str, wanted: Mapping[str, Any]) -> None:
        self._require(task)
        self._say(wanted.get("text"))
        if wanted.get("flush") and self._context is not None:
            self._context.flush()

    def _finish(self, task: str, wanted: Mapping[str, Any]) -> None:
        context = self._require(task)
        if wanted.get("directive") == "cancel":
            context.cancel()
        else:
            self._say(wanted.get("text"))
            context.end()

    def _say(self, text: object) -> None:
        if text is None:
            return
        if not isinstance(text, str):
            raise ClientError("bad_message", f"input.text is {text!r:.40}, valid: text")
        assert self._context is not None
        self._connection.append(self._context, text)

    def _require(self, task: str) -> Context:
        if self._context is None or self._context.ctx != task:
            raise ClientError("context_unknown", f"task {task!r:.80} does not run")
        return self._context

    # --- events -----------------------------------------------------------------------------------

    async def _follow(self, context: Context) -> None:
        container = make_container(self._target)
        sentence: dict[str, object] = {}
        words: list[dict[str, object]] = []
        async for event in context:
            match event:
                case ContextStarted():
                    await self._audio(container.start(event))
                case SegmentStarted():
                    sentence, words = {"index": event.seg}, []
                    await self._sentence(context, "sentence-begin", sentence, words, event.text)
                case TimingEvent():
                    words += _words(context, event)
                case Audio():
                    await self._audio(container.add(event.packets))
                case SegmentDone():
                    await self._sentence(context, "sentence-end", sentence, words)
                case ContextDone():
                    await self._audio(container.finish(event))
                    await self._finished(context)
                case ContextCancelled():
                    await self._finished(context)
                case ErrorMessage():
                    self._context = None
                    await self._failed(context.ctx, problem_of_message(event))

    async def _audio(self, data: bytes) -> None:
        if data:
            await self._connection.send_bytes(data)

    async def _sentence(
        self,
        context: Context,
        kind: str,
        sentence: Mapping[str, object],
        words: list[dict[str, object]],
        text: str | None = None,
    ) -> None:
        output: dict[str, object] = {"type": kind, "sentence": {**sentence, "words": words}}
        if text is not None:
            output["original_text"] = text
        payload = {"output": output, "usage": {"characters": _characters(context.text)}}
        await self._event(context.ctx, "result-generated", payload)

    async def _finished(self, context: Context) -> None:
        if self._context is not context:
            return  # it was refused something and has been reported
        self._context = None
        payload = {
            "output": {"sentence": {"words": []}},
            "usage": {"characters": _characters(context.text)},
        }
        await self._event(context.ctx, "task-finished", payload)

    async def _failed(self, task: str, problem: Problem) -> None:
        fields = {"error_code": problem.code, "error_message": problem.message}
        await self._event(task, "task-failed", attributes=fields)

    async def _event(
        self,
        task: str,
        event: str,
        payload: Mapping[str, object] | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        header = {"task_id": task, "event": event, "attributes": {}, **(attributes or {})}
        await self._connection.send({"header": header, "payload": payload or {}})


def _object(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = message.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ClientError("bad_message", f"{name} is {value!r:.40}, valid: an object")
    return value


def _settings(runtime: Runtime, parameters: Mapping[str, Any]) -> Settings:
    settings = base_settings(runtime)
    voice = parameters.get("voice")
    settings = with_voice(runtime, settings, voice if isinstance(voice, str) else None)
    hints = parameters.get("language_hints")
    hint = hints[0] if isinstance(hints, list) and hints and isinstance(hints[0], str) else None
    settings = with_speed(settings, parameters.get("rate"))
    seed = parameters.get("seed")
    if isinstance(seed, int) and 0 < seed < 2**53:  # this service's 0 is "any"
        settings = replace(settings, seed=seed)
    is_timed = bool(parameters.get("word_timestamp_enabled"))
    return replace(
        settings,
        lang=language(hint, settings.lang),
        timings=("word",) if is_timed else (),
        timing_mode="sync",
    )


def _target(parameters: Mapping[str, Any]) -> Target:
    """Return what format, sample_rate and bit_rate stand for.

    Raises:
        ClientError: unsupported_format.
    """
    name = parameters.get("format")
    name = name.lower() if isinstance(name, str) else name
    rate = parameters.get("sample_rate") or _DEFAULT_RATE_HZ
    kbps = parameters.get("bit_rate")
    bitrate = kbps * 1000 if isinstance(kbps, int) and 6 <= kbps <= 256 else 32_000
    if name == "opus":
        rate = rate if parameters.get("sample_rate") else 48000
        if rate in SAMPLE_RATES_HZ["opus"]:
            return ogg_target(rate, bitrate)
    elif rate in SAMPLE_RATES_HZ["pcm_s16le"]:
        if name == "mp3" or name in _ANY:
            return mp3_target(rate, 128_000)
        if name == "pcm":
            return raw_target(pcm(rate))
        if name == "wav":
            return wav_target(rate)
    valid = "pcm, wav, mp3 or opus at 8000 to 48000"
    raise ClientError(
        "unsupported_format", f"format is {name!r:.40} at {rate!r:.20}, valid: {valid}"
    )


def _words(context: Context, event: TimingEvent) -> list[dict[str, object]]:
    text = context.text
    return [
        {
            "text": text[start:end],
            "begin_index": start,
            "end_index": end,
            "begin_time": begins,
            "end_time": ends,
        }
        for start, end, begins, ends in event.words or ()
    ]


def _characters(text: str) -> int:
    """Return the length as this service bills it: a Chinese character is two."""
    return sum(2 if "\u4e00" <= char <= "\u9fff" else 1 for char in text)
