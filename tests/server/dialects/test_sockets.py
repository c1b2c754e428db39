"""What holds for the socket of every dialect: admission, limits, drain, and an end."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from server.admission import hash_key
from tests.fakes import Script
from tests.server.dialects.sockets import peer
from tests.server.dialects.test_cartesia import generation
from tests.server.live import serve

ELEVEN = "/v1/text-to-speech/anna/multi-stream-input?output_format=pcm_24000"
PATHS = {
    "elevenlabs": ELEVEN,
    "elevenlabs_single": "/v1/text-to-speech/anna/stream-input",
    "cartesia": "/tts/websocket",
    "deepgram": "/v1/speak?model=anna",
    "dashscope": "/api-ws/v1/inference",
}
KEY_HEADERS = [
    {"Authorization": "Bearer secret"},
    {"Authorization": "Token secret"},
    {"Authorization": "bearer secret"},
    {"xi-api-key": "secret"},
    {"X-API-Key": "secret"},
]


async def refused(live: Any, path: str, **headers: str) -> tuple[int, bytes]:
    """Return how a handshake was refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with peer(live, path, additional_headers=headers):
            pass
    return caught.value.response.status_code, caught.value.response.body


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_keys_origins_and_load_are_checked_before_the_upgrade(
    path: str, tmp_path: Path
) -> None:
    """Rule 11: 401 without the right key, whatever header it comes in; 403, 503 likewise."""
    keys = tmp_path / "keys"
    keys.write_text(f"me {hash_key('secret')}\n")
    async with serve(f"server.keys_file={keys}", "server.limits.max_connections=1") as live:
        for headers in ({}, {"xi-api-key": "wrong"}, {"Authorization": "Token wrong"}):
            status, body = await refused(live, path, **headers)
            assert status == 401 and json.loads(body)
        for headers in KEY_HEADERS:
            async with peer(live, path, additional_headers=headers):
                status, _ = await refused(live, path, **headers)
                assert status == 503
            await asyncio.wait_for(live.runtime.wait_empty(), 5)
        status, _ = await refused(live, path, Origin="https://evil.example", **KEY_HEADERS[0])
        assert status == 403


async def test_a_token_is_good_once_and_for_its_voice(tmp_path: Path) -> None:
    """As on the native route."""
    keys = tmp_path / "keys"
    keys.write_text(f"me {hash_key('secret')}\n")
    async with serve(f"server.keys_file={keys}") as live:
        token = live.runtime.tokens.mint("me", ttl_s=30, voice="bob")
        async with peer(live, f"{ELEVEN}&token={token}") as client:
            await client.send({"text": "abc ", "context_id": "a"})
            assert "token is for 'bob'" in (await client.receive())["error"]
        assert (await refused(live, f"{ELEVEN}&token={token}"))[0] == 401


async def test_a_socket_that_breaks_leaves_nothing() -> None:
    """Contexts, engine and counters are free although nobody said goodbye."""
    async with serve(script=Script(hang_text="abcdefgh")) as live:
        async with peer(live, ELEVEN) as client:
            for ctx in ("a", "b"):
                await client.send({"text": "abcdefgh", "context_id": ctx, "flush": True})
            await client.send({"text": "abc", "context_id": "c", "flush": True})
            await client.until(contextId="c")
            client.ws.transport.abort()
        await asyncio.wait_for(live.runtime.wait_empty(), 5)
        assert not live.engine.active and not live.runtime.admission.num_contexts


async def test_a_socket_that_is_not_read_is_dropped() -> None:
    """A full socket stops the writer; after write_stall_s the connection and its work are gone."""
    settings = ("server.limits.write_stall_s=0.3", "dialects.lead_ms=60000")
    audio = {"container": "raw", "encoding": "pcm_f32le", "sample_rate": 44100}
    text = "One two three four five six seven eight. " * 150
    async with serve(*settings) as live:
        port = int(live.http.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = (
            f"GET {PATHS['cartesia']} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        )
        writer.write("\r\n".join([*lines, "", ""]).encode())
        assert b"101" in await reader.readline()
        asked = generation("c", text, output_format=audio, **{"continue": False})
        writer.write(Frame(Opcode.TEXT, json.dumps(asked).encode()).serialize(mask=True))
        async with asyncio.timeout(20):
            await live.runtime.wait_empty()
        assert live.engine.jobs and not live.engine.active
        value = live.runtime.metrics.registry.get_sample_value
        assert value("tts_errors_total", {"code": "slow_consumer"}) == 1
        writer.transport.abort()


async def test_a_server_that_drains_lets_contexts_finish() -> None:
    """No new one, the open one whole, then 1012."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, peer(live, ELEVEN) as client:
        await client.send({"text": "abcdefgh", "context_id": "a", "flush": True})
        await client.until(contextId="a")
        drain = asyncio.create_task(live.runtime.drain())
        await asyncio.sleep(0)
        await client.send({"text": "abc", "context_id": "b", "flush": True})
        assert "shutting down" in (await client.until(code="draining"))["error"]
        gate.set()
        await client.send({"context_id": "a", "close_context": True})
        code, _ = await client.rest()
        await drain
    assert code == 1012
    assert len(client.audio(contextId="a")) == 8 * 2 * 2 * 24000 // 25


async def test_limits_hold_for_contexts_text_and_kinds_of_messages() -> None:
    """Each is answered in the dialect's words, and the socket stays open."""
    limits = ("server.limits.max_contexts=1", "server.limits.max_buffer_chars=10")
    async with serve(*limits) as live, peer(live, ELEVEN) as client:
        await client.send({"text": "abc", "context_id": "a"})
        await client.send({"text": "abc", "context_id": "b"})
        assert (await client.receive())["code"] == "context_limit"
        await client.send({"text": "x" * 20, "context_id": "a"})
        assert (await client.receive())["code"] == "buffer_full"
        await client.ws.send(b"binary")
        assert (await client.receive())["code"] == "binary_not_allowed"
        await client.send({"context_id": "a", "flush": True})
        await client.send({"context_id": "a", "close_context": True})
        await client.until(isFinal=True, contextId="a")


async def test_a_message_that_is_too_large_closes_with_1009() -> None:
    """The library refuses it before it is read whole."""
    async with serve() as live, peer(live, ELEVEN) as client:
        await client.send({"text": "x" * (300 * 1024), "context_id": "a"})
        code, _ = await client.rest()
    assert code == 1009


async def test_a_plain_get_is_told_to_upgrade() -> None:
    """Not an error of ours."""
    from aiohttp import ClientSession

    async with serve() as live, ClientSession() as http:
        async with http.get(live.http + "/tts/websocket") as answer:
            assert answer.status == 400
            assert "WebSocket" in (await answer.json())["message"]
