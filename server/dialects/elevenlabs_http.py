"""ElevenLabs over HTTP: `convert`, `stream`, and the list of voices its clients ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from engine.client import VoiceInfo
from server.dialects.common import Speaking, admitted, answer, base_settings, json_body
from server.dialects.containers import Target, mp3_target, ogg_target, pcm, raw_target
from server.dialects.names import language, with_speed, with_voice
from server.dialects.problems import Problem, answering
from server.errors import ClientError
from server.runtime import Runtime
from server.settings import SAMPLE_RATES_HZ, Format

ROUTE = "elevenlabs"
_DEFAULT_FORMAT = "mp3_44100_128"
_MP3_RATES_HZ = (22050, 24000, 44100)
_FORMAT = re.compile(r"(mp3|pcm|ulaw|alaw|opus)_(\d{4,5})(?:_(\d{2,3}))?")


def _body(problem: Problem) -> Mapping[str, object]:
    return {
        "detail": {
            "status": problem.code,
            "message": problem.message,
            "request_id": problem.request_id,
        }
    }


answering_as_elevenlabs = answering(_body)


class ElevenLabsHttp:
    """The HTTP routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        path = "/v1/text-to-speech/{voice}"
        router.add_post(path, answering_as_elevenlabs(self._convert))
        router.add_post(f"{path}/stream", answering_as_elevenlabs(self._stream))
        router.add_get("/v2/voices", answering_as_elevenlabs(self._list))

    async def _convert(self, request: web.Request) -> web.StreamResponse:
        return await self._speak(request, is_whole=True)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await self._speak(request, is_whole=False)

    async def _speak(self, request: web.Request, *, is_whole: bool) -> web.StreamResponse:
        with admitted(request, self._runtime) as caller:
            body = await json_body(request)
            text = body.get("text")
            if not isinstance(text, str):
                raise ClientError("bad_message", f"text is {text!r:.40}, valid: the text to speak")
            settings = base_settings(self._runtime)
            settings = with_voice(self._runtime, settings, request.match_info["voice"])
            chosen = body.get("voice_settings")
            if isinstance(chosen, Mapping):
                settings = with_speed(settings, chosen.get("speed"))
            seed = body.get("seed")
            if isinstance(seed, int) and 0 <= seed < 2**53:
                settings = replace(settings, seed=seed)
            named = body.get("language_code")
            spoken_in = language(named if isinstance(named, str) else None, settings.lang)
            target = target_of(request.query.get("output_format"))
            settings = replace(settings, lang=spoken_in)
            speaking = Speaking(text, settings, target, ROUTE, is_whole=is_whole)
            return await answer(request, self._runtime, caller, speaking)

    async def _list(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            wanted = request.query.get("search", "").lower()
            voices = [v for v in self._runtime.engine.voices.values() if wanted in v.id]
            rows = [voice_row(voice) for voice in voices]
            more = {"has_more": False, "total_count": len(rows), "next_page_token": None}
            return web.json_response({"voices": rows, **more})


def voice_row(voice: VoiceInfo) -> dict[str, object]:
    """Return a voice as this service describes one."""
    return {
        "voice_id": voice.id,
        "name": voice.id,
        "category": "cloned",
        "description": voice.description,
        "labels": {"language": str(voice.language)},
        "preview_url": None,
        "available_for_tiers": [],
        "settings": None,
        "samples": None,
    }


def target_of(name: str | None) -> Target:
    """Return what an `output_format` stands for.

    Raises:
        ClientError: unsupported_format.
    """
    match = _FORMAT.fullmatch(name or _DEFAULT_FORMAT)
    if match is None:
        raise _unsupported(name)
    kind, rate, kbps = match[1], int(match[2]), int(match[3] or 0)
    if kind == "mp3" and rate in _MP3_RATES_HZ:
        return mp3_target(rate, kbps * 1000)
    if kind == "pcm" and rate in SAMPLE_RATES_HZ["pcm_s16le"]:
        return raw_target(pcm(rate))
    if kind == "ulaw" and rate == 8000:
        return raw_target(Format(codec="mulaw", rate=8000))
    if kind == "alaw" and rate == 8000:
        return raw_target(Format(codec="alaw", rate=8000))
    if kind == "opus" and rate == 48000:
        return ogg_target(48000, (kbps or 64) * 1000)
    raise _unsupported(name)


def _unsupported(name: str | None) -> ClientError:
    valid = "mp3_44100_128, pcm_24000, ulaw_8000, alaw_8000, opus_48000_64 and their like"
    return ClientError("unsupported_format", f"output_format is {name!r:.40}, valid: {valid}")
