"""GPT-SoVITS' own `api_v2`: `GET|POST /tts`, `POST /`, `GET /speakers`.

Open-LLM-VTuber, xiaozhi-esp32-server and SillyTavern speak it. Paths of reference recordings are
never opened: the base name of `ref_audio_path` names a voice of this server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from aiohttp import web

from server.dialects.common import Speaking, admitted, answer, base_settings, json_body
from server.dialects.containers import Target, mp3_target, ogg_target, pcm, raw_target, wav_target
from server.dialects.names import clamp_speed, language, with_voice
from server.dialects.problems import Problem, answering
from server.errors import ClientError
from server.runtime import Runtime
from server.settings import Settings

ROUTE = "api_v2"
_FALSE = ("false", "0", "no", "off", "none", "")
_SAMPLING = {"top_k": int, "top_p": float, "temperature": float, "repetition_penalty": float}
_RANGES = {
    "top_k": (1, 1025),
    "top_p": (0.01, 1.0),
    "temperature": (0.01, 2.0),
    "repetition_penalty": (1.0, 2.0),
}
_REFUSED = ("/set_gpt_weights", "/set_sovits_weights", "/set_refer_audio", "/control")


def _body(problem: Problem) -> Mapping[str, object]:
    return {"message": problem.message, "code": problem.code, "request_id": problem.request_id}


_answering = answering(_body)


class ApiV2:
    """The routes of this dialect."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        speak = _answering(self._speak)
        router.add_get("/tts", speak)
        router.add_post("/tts", speak)
        router.add_post("/", speak)
        router.add_get("/speakers", _answering(self._list))
        for path in _REFUSED:
            router.add_route("*", path, _answering(self._refuse))

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        with admitted(request, self._runtime) as caller:
            fields = await _fields(request)
            text = fields.get("text")
            if not isinstance(text, str) or not text.strip():
                raise ClientError("bad_message", "text is required")
            settings = self._settings(fields)
            speaking = Speaking(
                text,
                settings,
                self._target(str(fields.get("media_type") or "wav").lower()),
                ROUTE,
                is_whole=not is_streaming(fields.get("streaming_mode", False)),
            )
            return await answer(request, self._runtime, caller, speaking)

    def _settings(self, fields: Mapping[str, object]) -> Settings:
        settings = base_settings(self._runtime)
        named = fields.get("voice") or fields.get("speaker") or voice_name(fields)
        settings = with_voice(self._runtime, settings, str(named) if named else None)
        changes: dict[str, object] = {}
        for name, kind in _SAMPLING.items():
            if fields.get(name) is not None:
                low, high = _RANGES[name]
                changes[name] = kind(min(high, max(low, _number(name, fields[name]))))
        if fields.get("speed_factor") is not None:
            changes["speed"] = clamp_speed(_number("speed_factor", fields["speed_factor"]))
        seed = fields.get("seed")
        # -1 is a random one, and so is what no seed can be.
        if seed is not None and 0 <= (value := int(_number("seed", seed))) < 2**53:
            changes["seed"] = value
        spoken = language(str(fields.get("text_lang") or ""), settings.lang)
        return replace(settings, lang=spoken, **changes)  # type: ignore[arg-type]

    def _target(self, media_type: str) -> Target:
        rate = self._runtime.engine.info.sample_rate_hz
        match media_type:
            case "wav":
                return wav_target(rate)
            case "raw":
                return raw_target(pcm(rate))
            case "ogg":
                return ogg_target()
            case "mp3":
                return mp3_target(44100, 128_000)
        valid = "wav, raw, ogg, mp3"
        raise ClientError("bad_message", f"media_type is {media_type!r:.80}, valid: {valid}")

    async def _list(self, request: web.Request) -> web.Response:
        with admitted(request, self._runtime):
            voices = self._runtime.engine.voices.values()
            return web.json_response([{"name": v.id, "voice_id": v.id} for v in voices])

    async def _refuse(self, request: web.Request) -> web.Response:
        del request
        text = "this server's model and process are not changed over HTTP: sovits-live serve --help"
        raise ClientError("forbidden_voice", text)


async def _fields(request: web.Request) -> Mapping[str, object]:
    """Return the parameters: of the URL, or of a JSON body or form."""
    if request.method == "GET":
        return dict(request.query)
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return dict(await request.post())
    return await json_body(request)


def voice_name(fields: Mapping[str, object]) -> str | None:
    """Return the base name of the reference, without its ending; nothing is opened."""
    path = fields.get("ref_audio_path")
    if not isinstance(path, str) or not path.strip():
        return None
    return PurePosixPath(path.replace("\\", "/")).name.rpartition(".")[0] or path


def is_streaming(mode: object) -> bool:
    """Return True for every way to say so: true, "true", 1 to 3, and words nobody can know.

    "ture" is a default of Open-LLM-VTuber.
    """
    if isinstance(mode, bool):
        return mode
    if isinstance(mode, int | float):
        return mode != 0
    return str(mode).strip().lower() not in _FALSE


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ClientError("bad_message", f"{name} is {value!r:.80}, valid: a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ClientError("bad_message", f"{name} is {value!r:.80}, valid: a number")
    return number
