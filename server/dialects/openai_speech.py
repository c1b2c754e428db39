"""OpenAI's speech endpoint: `POST /v1/audio/speech`, `GET /v1/models`, `GET /v1/audio/voices`."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import hdrs, web

from server.dialects.common import (
    Caller,
    Speaking,
    admitted,
    answer,
    base_settings,
    json_body,
    pieces,
    send_pieces,
    spoken,
)
from server.dialects.containers import (
    Target,
    flac_target,
    make_container,
    mp3_target,
    ogg_target,
    pcm,
    raw_target,
    wav_target,
)
from server.dialects.names import clamp_speed, language, with_voice
from server.dialects.problems import ContextFailed, Problem, answering
from server.dialects.settings import OPENAI_VOICES
from server.errors import ClientError
from server.runtime import Runtime
from server.settings import Settings

ROUTE = "openai"
_RATE_HZ = 24000  # what this API's pcm is
_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
_FORMATS = ("mp3", "opus", "flac", "wav", "pcm")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def _body(problem: Problem) -> Mapping[str, object]:
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    param = problem.message.partition(" is ")[0] if " is " in problem.message else None
    return {
        "error": {
            "message": problem.message,
            "type": _TYPES.get(problem.status, kind),
            "code": problem.code,
            "param": param if param and " " not in param else None,
        }
    }


_answering = answering(_body)


@dataclass(frozen=True, slots=True)
class _Wanted:
    text: str
    settings: Settings
    target: Target
    is_sse: bool


class OpenAISpeech:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        router.add_post("/v1/audio/speech", _answering(self._speak))
        router.add_get("/v1/audio/voices", _answering(self._list_voices))
        router.add_get("/v1/models", _answering(self._list_models))
        router.add_get("/v1/models/{model}", _answering(self._show_model))

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        with admitted(request, self._runtime) as caller:
            wanted = self._wanted(await json_body(request))
            speaking = Speaking(wanted.text, wanted.settings, wanted.target, ROUTE)
            if wanted.is_sse:
                return await self._send_events(request, caller, speaking)
            return await answer(request, self._runtime, caller, speaking)

    def _wanted(self, body: Mapping[str, Any]) -> _Wanted:
        text = body.get("input")
        if not isinstance(text, str):
            raise ClientError("bad_message", f"input is {text!r:.40}, valid: the text to speak")
        voice = body.get("voice")
        if isinstance(voice, Mapping):
            voice = voice.get("id")
        settings = with_voice(self._runtime, base_settings(self._runtime), _name("voice", voice))
        speed = body.get("speed")
        if speed is not None:
            if not isinstance(speed, int | float) or isinstance(speed, bool):
                raise ClientError("bad_message", f"speed is {speed!r:.40}, valid: a number")
            settings = replace(settings, speed=clamp_speed(speed))
        settings = self._styled(settings, body.get("instructions"))
        spoken_in = language(_name("language", body.get("language")), settings.lang)
        target = self._target(body.get("response_format") or "mp3")
        is_sse = body.get("stream_format") == "sse"
        return _Wanted(text, replace(settings, lang=spoken_in), target, is_sse)

    def _styled(self, settings: Settings, instructions: object) -> Settings:
        """Take instructions that are the name of one of the voice's styles; others say nothing."""
        voice = self._runtime.engine.voices.get(settings.voice)
        wanted = instructions.strip().lower() if isinstance(instructions, str) else ""
        if voice is not None and wanted in voice.styles:
            return replace(settings, style=wanted)
        return settings

    def _target(self, name: object) -> Target:
        match name:
            case "pcm":
                return raw_target(pcm(_RATE_HZ))
            case "wav":
                return wav_target(_RATE_HZ)
            case "opus":
                return ogg_target()
            case "mp3":
                return mp3_target(_RATE_HZ, 96_000)
            case "flac":
                return flac_target(_RATE_HZ)
            case "aac" if self._runtime.config.dialects.missing_format == "ogg":
                return ogg_target()  # and its Content-Type says so
        valid = ", ".join(_FORMATS)
        raise ClientError("bad_message", f"response_format is {name!r:.40}, valid: {valid}")

    async def _send_events(
        self, request: web.Request, caller: Caller, speaking: Speaking
    ) -> web.StreamResponse:
        """Answer with server-sent events."""
        headers = {hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-cache"}
        async with spoken(self._runtime, caller, speaking) as context:
            found = pieces(context, make_container(speaking.target))
            first = await anext(found)  # an error before it has a status of its own
            events = _events(first, found, speaking.text)
            return await send_pieces(request, self._runtime, events, headers)

    async def _list_voices(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            voices = self._runtime.engine.voices.values()
            rows = [{"id": v.id, "name": v.id, "styles": list(v.styles)} for v in voices]
            return web.json_response({"voices": rows, "aliases": list(OPENAI_VOICES)})

    async def _list_models(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            names = (self._runtime.engine.info.pack, *_MODELS)
            return web.json_response({"object": "list", "data": [_model(n) for n in names]})

    async def _show_model(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            return web.json_response(_model(request.match_info["model"]))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sovits-live"}


async def _events(first: bytes, found: AsyncIterator[bytes], text: str) -> AsyncIterator[bytes]:
    try:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(first).decode()})
        async for piece in found:
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
    except ContextFailed as failed:
        yield _event({"type": "error", **_body(failed.problem)})
        return
    # There are no tokens here to count: characters in, nothing out.
    usage = {"input_tokens": len(text), "output_tokens": 0, "total_tokens": len(text)}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(data: Mapping[str, object]) -> bytes:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _name(field: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ClientError("bad_message", f"{field} is {value!r:.40}, valid: text")
