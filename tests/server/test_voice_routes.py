"""Voices over HTTP, with a real model in the enrolment process."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, FormData

from engine.audio.io import read_audio
from engine.errors import SovitsError
from engine.pack import Pack
from engine.voices import VoiceStore
from server.admission import hash_key
from server.enrol_child import enrol
from server.enrolment import EnrolJob, Enroller
from server.errors import ClientError
from tests.fakes import ScriptedEngine
from tests.server.live import Live, serve
from tests.speechlike import speechlike, write_wav
from tests.tiny_packs import tiny_pack

TEXT = "你好，欢迎来到直播间。"


class HereEnroller(Enroller):
    """Does what the process does, in a thread: starting one with torch takes seconds."""

    async def enrol(self, job: EnrolJob, audio: bytes) -> Mapping[str, Any]:
        """See Enroller."""
        try:
            recording = read_audio(audio)
            return await asyncio.to_thread(enrol, asdict(job), recording)
        except SovitsError as error:
            raise ClientError("bad_message", str(error)) from None


class ReloadingEngine(ScriptedEngine):
    """Counts how often the voices were read anew."""

    num_reloads = 0

    async def reload_voices(self) -> None:
        """See EngineClient."""
        self.num_reloads += 1


@pytest.fixture(scope="module")
def pack(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A tiny model with every reference encoder."""
    return tiny_pack(fixtures_dir, tmp_path_factory.mktemp("routes"), "v2Pro")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A usable reference."""
    path = tmp_path_factory.mktemp("audio") / "ref.wav"
    return write_wav(path, speechlike(4, seed=1)).read_bytes()


@asynccontextmanager
async def running(
    pack: Pack | None, tmp_path: Path, *settings: str
) -> AsyncIterator[tuple[Live, ClientSession]]:
    """Run a server with a voices folder of its own."""
    chosen = [f"engine.voices_dir={tmp_path / 'voices'}"]
    if pack is not None:
        chosen.append(f"engine.pack={pack.path}")
    else:
        chosen.append("engine.backend=fake")
    async with serve(*chosen, *settings, engine=ReloadingEngine()) as live:
        async with ClientSession() as http:
            yield live, http


def form(audio: bytes | None, **fields: str) -> FormData:
    """Return an upload."""
    data = FormData(default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value)
    if audio is not None:
        data.add_field("audio", io.BytesIO(audio), filename="ref.wav", content_type="audio/wav")
    return data


GOOD = {"name": "carla", "text": TEXT, "lang": "zh", "consent": "Carla, 2026", "description": "c"}


async def test_life_of_an_uploaded_voice(
    pack: Pack, wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added, refused a second time, given a style, removed; the engine is told each time."""
    monkeypatch.setattr("server.voice_routes.Enroller", HereEnroller)
    async with running(pack, tmp_path) as (live, http):
        url = live.http + "/v1/voices"
        async with http.post(url, data=form(wav, **GOOD)) as answer:
            made = await answer.json()
            assert answer.status == 201, made
        assert (made["voice"], made["style"], made["transcript"]) == ("carla", "default", TEXT)
        assert made["used_s"] == [0.0, 4.0]
        store = VoiceStore(tmp_path / "voices")
        record = store.record("carla")
        assert (record.consent, record.pack_fingerprint) == ("Carla, 2026", pack.fingerprint)
        async with http.post(url, data=form(wav, **GOOD)) as answer:
            assert (
                answer.status == 400 and "replace=true" in (await answer.json())["error"]["message"]
            )
        style = {"style": "happy", "text": TEXT, "lang": "zh"}
        async with http.post(f"{url}/carla/styles", data=form(wav, **style)) as answer:
            assert answer.status == 201, await answer.text()
        assert set(store.record("carla").styles) == {"default", "happy"}
        assert isinstance(live.engine, ReloadingEngine) and live.engine.num_reloads == 2
        async with http.delete(f"{url}/carla") as answer:
            assert answer.status == 204
        assert not (tmp_path / "voices" / "carla").exists()
        async with http.delete(f"{url}/carla") as answer:
            assert answer.status == 404


async def test_an_administrator_adds_as_many_voices_as_allowed(
    pack: Pack, wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 for one more; replacing one, or another style of it, is none more."""
    monkeypatch.setattr("server.voice_routes.Enroller", HereEnroller)
    admins = tmp_path / "admins"
    admins.write_text(f"boss {hash_key('boss')} voices=1\n")
    setting = f"server.admin_keys_file={admins}"
    headers = {"Authorization": "Bearer boss"}
    async with running(pack, tmp_path, setting) as (live, http):
        url = live.http + "/v1/voices"
        for fields, status in (
            (GOOD, 201),
            ({**GOOD, "name": "dora"}, 429),
            ({**GOOD, "replace": "true"}, 201),
        ):
            async with http.post(url, data=form(wav, **fields), headers=headers) as answer:
                assert answer.status == status, await answer.text()
        style = {"style": "happy", "text": TEXT, "lang": "zh"}
        async with http.post(
            f"{url}/carla/styles", data=form(wav, **style), headers=headers
        ) as answer:
            assert answer.status == 201, await answer.text()


async def test_who_administers_can_change_while_the_server_runs(
    pack: Pack, wav: bytes, tmp_path: Path
) -> None:
    """A key taken away is refused at once; a file that is being written changes nothing."""
    admins = tmp_path / "admins"
    admins.write_text(f"boss {hash_key('boss')}\n")

    async def status(http: aiohttp.ClientSession, url: str, key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.post(f"{url}/v1/admin/voices/reload", headers=headers) as answer:
            return answer.status

    async with running(pack, tmp_path, f"server.admin_keys_file={admins}") as (live, http):
        assert await status(http, live.http, "boss") == 200
        admins.write_text("boss not-a-hash\n")
        assert await status(http, live.http, "boss") == 200
        admins.write_text(f"next {hash_key('next')}\n")
        assert await status(http, live.http, "boss") == 401
        assert await status(http, live.http, "next") == 200


async def test_a_voice_is_warmed_before_anybody_asks(tmp_path: Path) -> None:
    """Each style speaks a moment, as a batch job; what it took is told."""
    async with running(None, tmp_path) as (live, http):
        async with http.post(f"{live.http}/v1/admin/voices/anna/warm") as answer:
            body = await answer.json()
            assert answer.status == 200, body
        assert body["voice"] == "anna" and set(body["first_audio_ms"]) == {"default", "sad"}
        assert {(job.voice_id, job.style) for job in live.engine.jobs} == {
            ("anna", "default"),
            ("anna", "sad"),
        }
        assert {str(job.priority) for job in live.engine.jobs} == {"batch"}
        assert not live.engine.active
        async with http.post(f"{live.http}/v1/admin/voices/zoe/warm") as answer:
            assert answer.status == 404


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_voice_is_made_in_a_process_of_its_own(
    pack: Pack, wav: bytes, tmp_path: Path
) -> None:
    """The whole way, with the process that is used in earnest."""
    async with running(pack, tmp_path) as (live, http):
        async with http.post(live.http + "/v1/voices", data=form(wav, **GOOD)) as answer:
            assert answer.status == 201, await answer.text()
    assert VoiceStore(tmp_path / "voices").load("carla").styles["default"].transcript == TEXT


def _wav_header_of(seconds: int) -> bytes:
    """Return a WAV of silence that is longer than may be uploaded, in few bytes of speech."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes([128]) * 8000 * seconds)
    return out.getvalue()


@pytest.mark.parametrize(
    ("audio", "word"),
    [
        (b"RIFF\x00\x00\x00\x00WAVEgarbage", "cannot be decoded"),
        (b"fLaC" + bytes(range(256)) * 40, "cannot be decoded"),
        (_wav_header_of(40), "longer than 30 s"),
    ],
)
async def test_a_recording_that_is_none_is_refused_by_its_process(
    pack: Pack, tmp_path: Path, audio: bytes, word: str
) -> None:
    """422 with the reason, and nothing is left behind."""
    async with running(pack, tmp_path) as (live, http):
        async with http.post(live.http + "/v1/voices", data=form(audio, **GOOD)) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == (422, "bad_reference"), error
            assert word in error["message"]
    assert not (tmp_path / "voices" / "carla").exists()


@pytest.mark.parametrize(
    ("fields", "audio", "status", "word"),
    [
        ({**GOOD, "consent": " "}, b"RIFF", 400, "consent"),
        ({**GOOD, "name": "../up"}, b"RIFF", 400, "name"),
        ({**GOOD, "name": ""}, b"RIFF", 400, "name"),
        ({**GOOD, "lang": "tlh"}, b"RIFF", 422, "lang"),
        ({**GOOD, "pack": "other"}, b"RIFF", 400, "pack"),
        ({**GOOD, "text": "x" * 5000}, b"RIFF", 413, "text"),
        (GOOD, b"MZ\x90\x00 a program", 415, "begins with"),
        (GOOD, b"RIFF" + bytes((10 << 20) + 1), 413, "audio"),
        (GOOD, None, 400, "audio is missing"),
    ],
)
async def test_uploads_are_refused_before_anything_is_decoded(
    pack: Pack, tmp_path: Path, fields: dict[str, str], audio: bytes | None, status: int, word: str
) -> None:
    """By name, size, kind and consent."""
    async with running(pack, tmp_path) as (live, http):
        async with http.post(live.http + "/v1/voices", data=form(audio, **fields)) as answer:
            assert answer.status == status
            assert word in (await answer.json())["error"]["message"]


async def test_only_administrators_change_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A speaker's key, a token or another site's page will not do; voices of the pack stay."""
    keys, admins = tmp_path / "keys", tmp_path / "admins"
    monkeypatch.setattr("engine.paths.BUNDLED", tmp_path / "bundled")
    for manifest in ("packs/mine/pack.json", "bundled/nano/pack.json"):
        (tmp_path / manifest).parent.mkdir(parents=True)
        (tmp_path / manifest).touch()
    keys.write_text(f"me {hash_key('speak')}\n")
    admins.write_text(f"boss {hash_key('boss')}\n")
    with_keys = f"server.keys_file={keys}"
    async with running(None, tmp_path, with_keys) as (live, http):
        headers = {"Authorization": "Bearer speak"}
        async with http.delete(live.http + "/v1/voices/anna", headers=headers) as answer:
            assert answer.status == 403
            assert "admin_keys_file" in (await answer.json())["error"]["message"]
    packs = f"engine.packs_dir={tmp_path / 'packs'}"
    both = (with_keys, f"server.admin_keys_file={admins}", packs)
    async with running(None, tmp_path, *both) as (live, http):
        url = live.http + "/v1/voices/anna"
        for key, extra, status in [
            ("speak", {}, 401),
            ("boss", {"Origin": "https://elsewhere.example"}, 403),
            ("boss", {}, 403),  # known, but the voice belongs to the pack
        ]:
            headers = {"Authorization": f"Bearer {key}", **extra}
            async with http.delete(url, headers=headers) as answer:
                assert answer.status == status
        headers = {"Authorization": "Bearer boss"}
        token = live.runtime.tokens.mint("boss", ttl_s=30)
        async with http.delete(f"{url}?token={token}") as answer:
            assert answer.status == 401
        reload = live.http + "/v1/admin/voices/reload"
        async with http.post(reload, headers=headers) as answer:
            assert (await answer.json())["voices"] == ["anna", "bob"]
        async with http.get(live.http + "/v1/admin/packs", headers=headers) as answer:
            assert await answer.json() == {"packs": ["mine", "nano"], "in_use": "scripted"}
        async with http.get(url, headers={"Authorization": "Bearer speak"}) as answer:
            assert (await answer.json())["voice_id"] == "anna"


async def test_a_backend_without_a_pack_has_no_voices_to_add_to(tmp_path: Path) -> None:
    """The fake backend says so."""
    async with running(None, tmp_path) as (live, http):
        async with http.post(live.http + "/v1/voices", data=form(b"RIFF", **GOOD)) as answer:
            assert answer.status == 400 and "fake" in (await answer.json())["error"]["message"]
