"""HTTP routes, and refusals before the upgrade."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from engine.client import EngineStats
from engine.errors import CheckpointError
from server import runtime
from server.admission import hash_key
from tests.fakes import Script, ScriptedEngine
from tests.server.live import Live, serve


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    """A keys file with one key, `sesame`."""
    path = tmp_path / "keys"
    path.write_text(f"# who  hash\nalice {hash_key('sesame')}\n")
    return f"server.keys_file={path}"


async def refusal(live: Live, query: str = "", **options: Any) -> tuple[int, dict[str, Any], Any]:
    """Try to connect; return status, error and headers of the refusal."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(live.ws + query, compression=None, proxy=None, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"], response.headers


async def test_ready_only_after_the_warm_up(http: aiohttp.ClientSession) -> None:
    """The port answers while the engine loads; sockets are refused with 503 till then."""
    engine = ScriptedEngine()
    engine.start_gate = asyncio.Event()
    async with serve(engine=engine, is_awaited=False) as live:
        async with http.get(f"{live.http}/readyz") as response:
            assert (response.status, await response.json()) == (503, {"status": "warming_up"})
        status, error, headers = await refusal(live)
        assert (status, error["code"], headers["Retry-After"]) == (503, "warming_up", "1")
        engine.start_gate.set()
        await live.runtime.wait_started()
        async with http.get(f"{live.http}/readyz") as response:
            body = await response.json()
        assert body == {"status": "ready", "model": "scripted", "voices": 2, "notice": "no speech"}
        engine.is_ready = False
        async with http.get(f"{live.http}/readyz") as response:
            assert (await response.json())["status"] == "engine_down"


async def test_an_engine_that_answers_no_more_is_not_ready(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alive and hung: a balancer must send nobody here."""
    monkeypatch.setattr(runtime, "_ENGINE_TICK_S", 0.01)
    monkeypatch.setattr(runtime, "_ENGINE_SILENT_S", 0.3)
    async with serve() as live:
        ask, hung = live.engine.stats, asyncio.Event()

        async def hang() -> EngineStats:
            hung.set()
            await asyncio.Event().wait()
            return await ask()

        await asyncio.sleep(0.05)
        monkeypatch.setattr(live.engine, "stats", hang)
        await hung.wait()
        await asyncio.sleep(0.4)
        async with http.get(f"{live.http}/readyz") as response:
            assert (response.status, await response.json()) == (503, {"status": "engine_down"})


async def test_listeners_beyond_what_the_engine_can_feed_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a second of work for a second of audio: one at a time, files beside it."""
    monkeypatch.setattr(runtime, "_ENGINE_TICK_S", 0.01)
    engine = ScriptedEngine(Script(gates={0: asyncio.Event()}))
    asked: asyncio.Queue[None] = asyncio.Queue()

    async def slow() -> EngineStats:
        asked.put_nowait(None)
        return EngineStats(audio_s=100.0, busy_s=50.0, acoustic_busy_s=50.0)

    engine.stats = slow  # type: ignore[method-assign]
    async with serve(engine=engine) as live:
        for _ in range(2):  # who asks again has taken the first answer
            await asked.get()
        async with live.session() as client:
            assert client.ready["load"] == {"slots_free": 1}
            await client.send("text", ctx="a", text="One two three.", end=True)
            await client.packet()
            await client.send("text", ctx="b", text="Four.", end=True)
            error = await client.next("error", ctx="b")
            assert (error["code"], error["retryable"]) == ("overloaded", True)
            assert "1 contexts are spoken in real time" in error["message"]
            await client.send("context.open", ctx="c", priority="batch")
            await client.next("context.started", ctx="c")


async def test_an_engine_that_does_not_start_is_reported(http: aiohttp.ClientSession) -> None:
    """The command ends with what kept it from starting."""
    engine = ScriptedEngine()
    engine.start_error = CheckpointError("pack.json is missing")
    async with serve(engine=engine, is_awaited=False) as live:
        with pytest.raises(CheckpointError, match="pack.json is missing"):
            await live.runtime.wait_started()
        async with http.get(f"{live.http}/readyz") as response:
            assert (await response.json())["status"] == "failed"


async def test_health_metrics_and_voices(http: aiohttp.ClientSession) -> None:
    """The routes an operator needs."""
    async with serve() as live:
        async with live.session() as client:
            await client.send("text", ctx="a", text="One two.", end=True)
            await client.next("context.done")
            async with http.get(f"{live.http}/metrics") as response:
                text = await response.text()
        assert "tts_connections 1.0" in text
        assert 'tts_ttfa_seconds_count{route="native",voice="anna"} 1.0' in text
        assert 'engine_stat{name="jobs_done"} 1.0' in text
        async with http.get(f"{live.http}/healthz") as response:
            assert (response.status, (await response.json())["status"]) == (200, "ok")
        live.runtime.lag_s = 3.0
        async with http.get(f"{live.http}/healthz") as response:
            assert (response.status, (await response.json())["status"]) == (503, "slow")
        async with http.get(f"{live.http}/v1/voices") as response:
            voices = (await response.json())["voices"]
        assert voices[0] == {
            "id": "anna",
            "language": "zh",
            "styles": ["default", "sad"],
            "description": "a constant",
            "voice_id": "anna",  # this and the next two for ElevenLabs' clients
            "name": "anna",
            "category": "cloned",
        }


async def test_errors_are_json(http: aiohttp.ClientSession) -> None:
    """Also for paths and methods that do not exist; the request id is the caller's."""
    async with serve() as live:
        headers = {"X-Request-Id": "abc"}
        async with http.get(f"{live.http}/nope", headers=headers) as response:
            body = await response.json()
            assert (response.status, body["error"]["code"]) == (404, "not_found")
            assert body["error"]["request_id"] == response.headers["X-Request-Id"] == "abc"
        async with http.post(f"{live.http}/healthz") as response:
            assert (await response.json())["error"]["code"] == "method_not_allowed"
        async with http.get(f"{live.http}/v1/tts/ws") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (
                400,
                "bad_message",
            )


async def test_a_bug_is_answered_without_its_text(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace is in the log under the request id."""
    async with serve() as live:

        async def explode() -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr(live.engine, "stats", explode)
        async with http.get(f"{live.http}/metrics") as response:
            body = await response.text()
        assert response.status == 500
        assert "secret" not in body


async def test_keys_are_asked_for_before_the_upgrade(
    keys_file: str, http: aiohttp.ClientSession
) -> None:
    """Header or bearer subprotocol; the answer to a browser names only the first protocol."""
    async with serve(keys_file) as live:
        status, error, headers = await refusal(live)
        assert (status, error["code"]) == (401, "unauthorized")
        assert headers["WWW-Authenticate"] == "Bearer"
        status, _, _ = await refusal(live, additional_headers={"Authorization": "Bearer wrong"})
        assert status == 401
        async with http.get(f"{live.http}/v1/voices") as response:
            assert response.status == 401
        async with live.session(additional_headers={"Authorization": "Bearer sesame"}):
            pass
        protocols = ["sovits.tts.v1", "bearer.sesame"]
        async with live.session(subprotocols=protocols) as client:
            assert client.ws.subprotocol == "sovits.tts.v1"


@pytest.mark.parametrize("is_asked", [False, True])
async def test_metrics_need_a_key_where_that_is_wanted(
    keys_file: str, http: aiohttp.ClientSession, is_asked: bool
) -> None:
    """Scrapers come without one by default; then they come as anybody else does."""
    async with serve(keys_file, f"server.metrics_need_key={is_asked}".lower()) as live:
        for headers, status in (
            ({}, 401 if is_asked else 200),
            ({"Authorization": "Bearer sesame"}, 200),
        ):
            async with http.get(f"{live.http}/metrics", headers=headers) as response:
                assert response.status == status


async def test_a_session_is_found_in_the_log_by_its_request_id() -> None:
    """The handshake's header is the id of the session, on every protocol's socket."""
    async with serve() as live:
        async with live.session() as client:
            assert client.ws.response is not None
            assert client.ws.response.headers["X-Request-Id"] == client.ready["session_id"]
        url = live.http.replace("http", "ws", 1) + "/v1/speak?model=anna"
        async with connect(url, compression=None, proxy=None) as ws:
            assert ws.response is not None
            assert len(ws.response.headers["X-Request-Id"]) == 32


async def test_a_bearer_protocol_alone_is_not_logged(
    keys_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key must not reach a log, also when the client offers no protocol of ours."""
    caplog.set_level("DEBUG")
    async with serve(keys_file) as live:
        async with aiohttp.ClientSession() as http:
            async with http.ws_connect(live.ws, protocols=["bearer.sesame"]) as ws:
                assert ws.protocol is None
                assert (await ws.receive_json())["type"] == "ready"
                warning = await ws.receive_json()
                assert (warning["type"], warning["code"]) == ("warning", "no_subprotocol")
    assert "sesame" not in "".join(r.getMessage() for r in caplog.records if "server" in r.name)


@pytest.mark.parametrize(
    ("origin", "setting", "is_allowed"),
    [
        (None, "", True),
        ("http://evil.example", "", False),
        ("null", "", False),
        ("null", 'server.origins=["null"]', True),
        ("https://app.example", 'server.origins=["https://app.example"]', True),
        ("same", "", True),
    ],
)
async def test_origins(origin: str | None, setting: str, is_allowed: bool) -> None:
    """A page of another site cannot use a visitor's network place."""
    async with serve(*filter(None, [setting])) as live:
        value = live.http if origin == "same" else origin
        options: dict[str, Any] = {} if value is None else {"origin": value}
        if is_allowed:
            async with live.session(**options):
                pass
        else:
            status, error, _ = await refusal(live, **options)
            assert (status, error["code"]) == (403, "forbidden_origin")


async def test_connections_are_limited() -> None:
    """503 with Retry-After, and the place is free again afterwards."""
    async with serve("server.limits.max_connections=1") as live:
        async with live.session():
            status, error, headers = await refusal(live)
            assert (status, error["code"], headers["Retry-After"]) == (503, "overloaded", "1")
        await live.runtime.wait_empty()
        async with live.session():
            pass


async def test_connections_per_key_are_limited(keys_file: str) -> None:
    """429."""
    options = {"additional_headers": {"Authorization": "Bearer sesame"}}
    async with serve(keys_file, "server.limits.connections_per_key=1") as live:
        async with live.session(**options):
            status, error, _ = await refusal(live, **options)
            assert (status, error["code"]) == (429, "rate_limited")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?voice=zoe", 404, "voice_not_found"),
        ("?lang=xx", 422, "unsupported_lang"),
        ("?format=mp3", 400, "bad_message"),
        ("?speed=fast", 400, "bad_message"),
        ("?sample_rate=32000", 415, "unsupported_format"),
    ],
)
async def test_a_url_that_cannot_be_served(query: str, status: int, code: str) -> None:
    """Refused before the upgrade, with the same codes as in-band."""
    async with serve() as live:
        got, error, _ = await refusal(live, query)
        assert (got, error["code"]) == (status, code)


async def test_draining_refuses_newcomers(http: aiohttp.ClientSession) -> None:
    """503 at the upgrade and on /readyz."""
    async with serve() as live:
        await live.runtime.drain()
        status, error, _ = await refusal(live)
        assert (status, error["code"]) == (503, "draining")
        async with http.get(f"{live.http}/readyz") as response:
            assert (await response.json())["status"] == "draining"
