"""Voices over HTTP: add one from a recording, give it a style, describe it, remove it."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path

from aiohttp import BodyPartReader, web

from engine.client import VoiceInfo
from engine.errors import VoiceError
from engine.types import Language
from engine.voice_files import DEFAULT_STYLE, check_id
from engine.voices import VoiceStore
from server import config as configuration
from server.access import admit
from server.admission import Keys
from server.dialects.common import Caller, Speaking, base_settings, pieces, spoken
from server.dialects.containers import make_container, pcm, raw_target
from server.dialects.names import language
from server.dialects.problems import ContextFailed
from server.enrol_child import MAX_BYTES
from server.enrolment import EnrolJob, Enroller, check_magic
from server.errors import ClientError
from server.quotas import Account, Accounts
from server.runtime import Runtime

_UPLOAD_S = 60.0
_MAX_FIELD_BYTES = 4096
_FIELDS = ("name", "style", "text", "lang", "description", "consent", "denoise", "replace")
_TRUE = re.compile(r"true|1|yes|on", re.IGNORECASE)
_GREETINGS = {
    Language.ZH: "你好。",
    Language.EN: "Hello.",
    Language.JA: "こんにちは。",
    Language.KO: "안녕하세요.",
    Language.YUE: "你好。",
    Language.AUTO: "Hello.",
}


class VoiceRoutes:
    """The routes under `/v1/voices`, and what administrators may do."""

    def __init__(self, runtime: Runtime, enroller: Enroller | None = None) -> None:
        """Prepare.

        Raises:
            ConfigError: If the administrators' keys cannot be read.
        """
        self._runtime = runtime
        self._enroller = enroller or Enroller()
        file = runtime.config.server.admin_keys_file
        self._admins_file = None if file is None else Path(file).expanduser()
        self._admins = None if self._admins_file is None else Keys.read(self._admins_file)
        self._accounts = runtime.accounts
        if self._admins is not None:
            self._accounts = Accounts(self._admins.allowances, time.monotonic)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount them."""
        router.add_post("/v1/voices", self._add)
        router.add_get("/v1/voices/{voice}", self._show)
        router.add_delete("/v1/voices/{voice}", self._remove)
        router.add_post("/v1/voices/{voice}/styles", self._add_style)
        router.add_post("/v1/admin/voices/reload", self._reload)
        router.add_post("/v1/admin/voices/{voice}/warm", self._warm)
        router.add_get("/v1/admin/packs", self._list_packs)

    def require_admin(self, request: web.Request) -> Account:
        """Let administrators through; on a server that asks for no keys, everybody.

        Raises:
            ClientError: unauthorized, forbidden_origin or forbidden_voice.
        """
        if "token" in request.query:
            raise ClientError("unauthorized", "a token is for speaking; valid: a key in a header")
        if self._admins is not None and self._admins_file is not None:
            # Such requests are rare, and a key that was taken away is none any more.
            self._admins = self._admins.read_again(self._admins_file)
            self._accounts.replace(self._admins.allowances)
            grant = admit(request, self._runtime, keys=self._admins)
            return self._accounts.of(grant.holder)
        grant = admit(request, self._runtime)
        if self._runtime.keys.are_required:
            text = "voices are changed by administrators: set server.admin_keys_file"
            raise ClientError("forbidden_voice", text)
        return self._accounts.of(grant.holder)

    async def _show(self, request: web.Request) -> web.Response:
        admit(request, self._runtime)
        self._runtime.admission.check_open()
        return web.json_response(voice_body(self._info(request.match_info["voice"])))

    async def _add(self, request: web.Request) -> web.Response:
        account = self.require_admin(request)
        fields, audio = await read_upload(request)
        if not fields.get("consent", "").strip():
            text = "consent is missing, valid: who agreed to this use of the voice, in words"
            raise ClientError("bad_message", text)
        return await self._enrol(account, fields.get("name", ""), DEFAULT_STYLE, fields, audio)

    async def _add_style(self, request: web.Request) -> web.Response:
        account = self.require_admin(request)
        fields, audio = await read_upload(request)
        style = check_id("style", fields.get("style", ""))
        if style == DEFAULT_STYLE:
            raise ClientError("bad_message", "style is 'default', valid: another name")
        return await self._enrol(account, request.match_info["voice"], style, fields, audio)

    async def _enrol(
        self, account: Account, voice: str, style: str, fields: dict[str, str], audio: bytes
    ) -> web.Response:
        lang = fields.get("lang") or str(Language.AUTO)
        if lang not in tuple(Language):
            raise ClientError("unsupported_lang", f"lang is {lang!r}, valid: {', '.join(Language)}")
        engine = configuration.engine_config(self._runtime.config.engine)
        if engine.pack is None or engine.voices_dir is None:
            raise ClientError("bad_message", f"backend {engine.backend} has no voices to add to")
        job = EnrolJob(
            voice=check_id("name", voice),
            style=style,
            text=fields.get("text", ""),
            lang=lang,
            description=fields.get("description", ""),
            consent=fields.get("consent", ""),
            denoise=bool(_TRUE.fullmatch(fields.get("denoise", ""))),
            replace=bool(_TRUE.fullmatch(fields.get("replace", ""))),
            pack=str(engine.pack),
            voices_dir=str(engine.voices_dir),
        )
        there = await asyncio.to_thread(VoiceStore(engine.voices_dir).listing)
        account.check_voices(len(there.records.keys() - {job.voice}))
        check_magic(audio)
        made = await self._enroller.enrol(job, audio)
        await self._runtime.engine.reload_voices()
        return web.json_response(dict(made), status=201)

    async def _remove(self, request: web.Request) -> web.Response:
        self.require_admin(request)
        voice = request.match_info["voice"]
        folder = configuration.engine_config(self._runtime.config.engine).voices_dir
        if folder is None or not (folder / check_id("voice", voice)).is_dir():
            if voice in self._runtime.engine.voices:
                text = f"voice {voice!r} belongs to the model pack and stays"
                raise ClientError("forbidden_voice", text)
            raise VoiceError(f"there is no voice {voice!r:.80}")
        await asyncio.to_thread(VoiceStore(folder).remove, voice)
        await self._runtime.engine.reload_voices()
        return web.Response(status=204)

    async def _reload(self, request: web.Request) -> web.Response:
        self.require_admin(request)
        self._runtime.admission.check_open()
        await self._runtime.engine.reload_voices()
        return web.json_response({"voices": list(self._runtime.engine.voices)})

    async def _warm(self, request: web.Request) -> web.Response:
        """Speak a moment in each style, so that the first listener waits for no file."""
        account = self.require_admin(request)
        self._runtime.admission.check_open()
        voice = self._info(request.match_info["voice"])
        taken = {style: await self._first_audio_ms(account, voice, style) for style in voice.styles}
        return web.json_response({"voice": voice.id, "first_audio_ms": taken})

    async def _first_audio_ms(self, account: Account, voice: VoiceInfo, style: str) -> int:
        settings = base_settings(self._runtime)
        spoken_in = language(str(voice.language), settings.lang)
        settings = replace(settings, voice=voice.id, style=style, lang=spoken_in, priority="batch")
        speaking = Speaking(_GREETINGS[voice.language], settings, raw_target(pcm(8000)), "warm")
        started_s = time.monotonic()
        async with spoken(self._runtime, Caller(account, None), speaking) as context:
            try:
                await anext(pieces(context, make_container(speaking.target)))
            except ContextFailed as failed:
                problem = failed.problem
                raise ClientError(problem.code, problem.message) from None
        return round((time.monotonic() - started_s) * 1000)

    async def _list_packs(self, request: web.Request) -> web.Response:
        self.require_admin(request)
        self._runtime.admission.check_open()
        names = configuration.paths(self._runtime.config.engine).pack_names()
        return web.json_response({"packs": names, "in_use": self._runtime.engine.info.pack})

    def _info(self, voice: str) -> VoiceInfo:
        found = self._runtime.engine.voices.get(voice)
        if found is None:
            raise VoiceError(f"there is no voice {voice!r:.80}")
        return found


def voice_body(voice: VoiceInfo) -> dict[str, object]:
    """Return a voice as `/v1/voices` tells it: our names, and those ElevenLabs' clients read."""
    return {
        "id": voice.id,
        "language": str(voice.language),
        "styles": list(voice.styles),
        "description": voice.description,
        "voice_id": voice.id,
        "name": voice.id,
        "category": "cloned",
    }


async def read_upload(request: web.Request) -> tuple[dict[str, str], bytes]:
    """Read a multipart upload: text fields, and the recording as `audio`.

    Raises:
        ClientError: bad_message or text_too_long, naming the field.
    """
    if request.content_type != "multipart/form-data":
        raise ClientError("bad_message", "the body is not multipart/form-data with a file `audio`")
    fields: dict[str, str] = {}
    audio: bytes | None = None
    try:
        async with asyncio.timeout(_UPLOAD_S):
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise ClientError("bad_message", "the body has parts within parts")
                name = part.name or ""
                if name == "audio" and audio is None:
                    audio = await _read(part, name, MAX_BYTES)
                elif name in _FIELDS:
                    data = await _read(part, name, _MAX_FIELD_BYTES)
                    fields[name] = data.decode(errors="replace").strip()
                else:
                    valid = ", ".join(("audio", *_FIELDS))
                    raise ClientError("bad_message", f"field {name!r:.40}, valid: {valid}, once")
    except TimeoutError:
        raise ClientError("idle_timeout", f"the upload took over {_UPLOAD_S:g} s") from None
    except ValueError as error:
        raise ClientError("bad_message", f"the body is not multipart: {error!s:.120}") from None
    if audio is None:
        raise ClientError("bad_message", "audio is missing, valid: a recording of 3 to 10 s")
    return fields, audio


async def _read(part: BodyPartReader, name: str, most: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(1 << 16):
        data += chunk
        if len(data) > most:
            raise ClientError("text_too_long", f"{name} is larger than {most} bytes")
    return bytes(data)
