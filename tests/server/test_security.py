"""Hostile clients; origins, limits and drains are in test_app."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.admission import hash_key
from tests.fakes import Script
from tests.server.live import Live, serve

pytestmark = pytest.mark.security

KEYS = {"Authorization": "Bearer sesame"}


@pytest.fixture
def keys_file(tmp_path: Any) -> str:
    """A keys file with one key, `sesame`."""
    path = tmp_path / "keys"
    path.write_text(f"alice {hash_key('sesame')}\n")
    return f"server.keys_file={path}"


@asynccontextmanager
async def raw(
    live: Live, *lines: str, is_complete: bool = True
) -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
    """A bare TCP connection, upgraded unless other lines are given."""
    host, port = "127.0.0.1", int(live.http.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection(host, port)
    upgrade = (
        "GET /v1/tts/ws HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    writer.write("\r\n".join([*(lines or upgrade), *["", ""][: 2 if is_complete else 1]]).encode())
    try:
        if not lines:
            assert b" 101 " in await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()


def frame(payload: bytes, *, opcode: int = 1, fin: bool = True, masked: bool = True) -> bytes:
    """Return one frame, RFC 6455 5.2; the mask is all zero."""
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        size = bytes([bit | len(payload)])
    elif len(payload) < 65536:
        size = bytes([bit | 126]) + len(payload).to_bytes(2, "big")
    else:
        size = bytes([bit | 127]) + len(payload).to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + size + bytes(4 if masked else 0) + payload


async def close_code(reader: asyncio.StreamReader) -> int | None:
    """Read frames until the server's close frame; None if it just hangs up."""
    try:
        while True:
            first, second = await reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            payload = await reader.readexactly(length)
            if first & 0x0F == 8:
                return int.from_bytes(payload[:2], "big")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def is_alive(live: Live) -> bool:
    """Return True if the server still speaks to others and nothing was left behind."""
    await live.runtime.wait_empty()
    async with live.session() as client:
        await client.send("text", ctx="a", text="One.", end=True)
        await client.next("context.done")
    await live.runtime.wait_empty()
    admission = live.runtime.admission
    return not (live.engine.active or admission.num_contexts or admission.num_connections)


PING = json.dumps({"type": "ping"}).encode()


@pytest.mark.parametrize(
    ("name", "data", "codes"),
    [
        ("invalid UTF-8", frame(b"\xff\xfe"), {1007}),
        ("reserved bits", bytes([0xF1, 0x80, 0, 0, 0, 0]), {1002}),
        ("unknown opcode", frame(b"", opcode=3), {1002}),
        ("fragmented ping", frame(b"x", opcode=9, fin=False), {1002}),
        ("long ping", frame(b"x" * 200, opcode=9), {1002}),
        ("continuation of nothing", frame(b"x", opcode=0), {1002}),
        ("3 MB", frame(b"x" * 3_000_000), {1009}),
        ("close without a reason", frame(b"", opcode=8), {1000, 0, 1005}),
        ("compressed", bytes([0xC1, 0x80, 0, 0, 0, 0]), {1002}),
    ],
)
async def test_frames_that_break_the_standard(name: str, data: bytes, codes: set[Any]) -> None:
    """The socket closes with the standard's code and nobody else notices."""
    async with serve() as live:
        async with raw(live) as (reader, writer):
            writer.write(data)
            assert await asyncio.wait_for(close_code(reader), 5) in codes, name
        assert await is_alive(live)


async def test_an_unmasked_frame_disturbs_nobody() -> None:
    """The standard wants 1002; aiohttp does not look, so it is answered like any other."""
    async with serve() as live:
        async with raw(live) as (reader, writer):
            writer.write(frame(PING, masked=False) + frame(b"\x03\xe8", opcode=8))
            assert await asyncio.wait_for(close_code(reader), 5) == 1000
        assert await is_alive(live)


@pytest.mark.parametrize("size", [65 * 1024 + 1, 1024 * 1024])
async def test_a_text_that_is_too_long_is_answered_in_band(size: int) -> None:
    """Beyond max_text_bytes: an error by context; the session and its other contexts go on."""
    async with serve() as live, live.session() as client:
        await client.send("text", ctx="b", text="One two three.")
        await client.send("text", ctx="a", text="x" * size)
        error = await client.next("error")
        assert (error["code"], error["ctx"]) == ("text_too_long", "a")
        await client.send("end", ctx="b")
        await client.next("context.done", ctx="b")


async def test_the_wall_clock_may_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day forward and back, in the middle of a sentence: nothing ends."""
    script = Script(step_s=0.01)
    async with serve("audio.lead_ms=300", script=script) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five six.", end=True)
        await client.packet()
        real, real_ns = time.time, time.time_ns
        for jump_s in (86_400, -86_400):
            monkeypatch.setattr(time, "time", lambda by=jump_s: real() + by)
            monkeypatch.setattr(time, "time_ns", lambda by=jump_s: real_ns() + by * 10**9)
            await client.packet()
        await client.next("context.done")
        assert live.runtime.admission.num_connections == 1


async def test_ten_thousand_fragments_of_one_byte() -> None:
    """A message in pieces is a message."""
    text = json.dumps({"type": "ping", "t": "x" * 9900}).encode()
    pieces = [
        frame(text[i : i + 1], opcode=1 if i == 0 else 0, fin=i == len(text) - 1)
        for i in range(len(text))
    ]
    async with serve() as live:
        async with raw(live) as (reader, writer):
            writer.write(b"".join(pieces) + frame(b"\x03\xe8", opcode=8))
            assert await asyncio.wait_for(close_code(reader), 10) == 1000
        assert await is_alive(live)


@pytest.mark.parametrize(
    "data",
    [
        "[" * 60_000,
        '{"type":' * 9_000,
        json.dumps({"type": "ping", "t": 10**4000}),
        '{"type":"ping","t":' + "9" * 60_000 + "}",
        json.dumps({"type": "text", "ctx": "x" * 10_000, "text": "x"}),
        json.dumps({"type": "text", "ctx": "a\r\nERROR forged", "text": "x"}),
        json.dumps({"type": "text", "ctx": "a\u202e", "text": "x"}),
        json.dumps({"type": "context.open", "ctx": "a", "voice": "../../etc/passwd"}),
        json.dumps({"type": "context.open", "ctx": "a", "voice": "http://169.254.169.254/"}),
        json.dumps({"type": "session.update", "defaults": {"voice": ["a"] * 9_000}}),
        json.dumps({str(i): i for i in range(6_000)}),
    ],
)
async def test_hostile_json_is_an_error(data: str, caplog: pytest.LogCaptureFixture) -> None:
    """Answered in-band, in time, without a line of it in the log."""
    async with serve() as live:
        async with live.session() as client:
            await client.ws.send(data)
            error = await asyncio.wait_for(client.next("error"), 5)
            assert error["status"] in (400, 404)
            assert len(error["message"]) < 400
        assert await is_alive(live)
    assert "forged" not in caplog.text and "passwd" not in caplog.text


async def test_the_text_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Also at debug, also when it fails."""
    caplog.set_level("DEBUG")
    script = Script(fail_text="Secret words.", tokens_per_chunk=2)
    async with serve(script=script) as live, live.session() as client:
        await client.send("text", ctx="a", text="Secret words.", end=True)
        await client.next("error")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("server")]
    assert ours and not any("Secret" in line for line in ours)


async def refused(live: Live, query: str = "", **options: Any) -> tuple[int, str]:
    """Return status and code of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(live.ws + query, compression=None, proxy=None, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


async def test_tokens_are_bought_with_a_key_and_used_once(
    keys_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Missing, replayed and foreign ones are refused; none is logged by us."""
    caplog.set_level("DEBUG")
    async with serve(keys_file) as live, aiohttp.ClientSession() as http:
        async with http.post(f"{live.http}/v1/tokens") as response:
            assert response.status == 401
        body = {"origin": "https://page.example", "voice": "bob", "ttl_s": 10}
        async with http.post(f"{live.http}/v1/tokens", json=body, headers=KEYS) as response:
            assert response.headers["Cache-Control"] == "no-store"
            token = (await response.json())["token"]
        query = f"?token={token}"
        async with live.session(query, origin="https://page.example") as client:
            await client.send("text", ctx="a", text="One.", end=True)
            assert (await client.next("context.started"))["voice"] == "bob"
            await client.send("context.open", ctx="b", voice="anna")
            assert (await client.next("error"))["code"] == "forbidden_voice"
        assert await refused(live, query, origin="https://page.example") == (401, "token_expired")
        async with http.post(f"{live.http}/v1/tokens", json=body, headers=KEYS) as response:
            foreign = (await response.json())["token"]
        assert await refused(live, f"?token={foreign}") == (403, "forbidden_origin")
        for bad in ({"ttl_s": 600}, {"ttl": 1}, [], {"voice": 5}):
            async with http.post(f"{live.http}/v1/tokens", json=bad, headers=KEYS) as response:
                assert response.status == 400
        async with http.post(f"{live.http}/v1/tokens", data="[" * 99_999, headers=KEYS) as response:
            assert response.status == 400
        async with http.post(
            f"{live.http}/v1/tokens", json={"voice": "zoe"}, headers=KEYS
        ) as response:
            assert response.status == 404
        evil = {**KEYS, "Origin": "https://evil.example"}
        async with http.post(f"{live.http}/v1/tokens", headers=evil) as response:
            assert response.status == 403
    ours = "".join(
        r.getMessage() for r in caplog.records if r.name.startswith(("server", "aiohttp"))
    )
    assert token not in ours and "sesame" not in ours


async def test_slow_headers_cost_a_socket_for_a_while() -> None:
    """A client that never finishes its request is cut off."""
    async with serve("server.limits.request_timeout_s=0.3") as live:
        async with raw(live, "GET /healthz HTTP/1.1", is_complete=False) as (reader, writer):
            async with asyncio.timeout(5):
                assert await reader.read() == b""
        assert await is_alive(live)


def open_files() -> int:
    """Return how many files this process has open, 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


async def test_a_hundred_sockets_that_hang_up() -> None:
    """Open contexts, abrupt ends: nothing is left."""
    opened = json.dumps({"type": "text", "ctx": "a", "text": "One two three four."}).encode()
    async with serve("server.limits.max_active_contexts=200") as live:
        before = open_files()

        async def one() -> None:
            async with raw(live) as (reader, writer):
                writer.write(frame(opened))
                await writer.drain()
                await reader.read(10)
                writer.transport.abort()

        await asyncio.gather(*(one() for _ in range(100)))
        assert await is_alive(live)
        assert open_files() <= before + 5


async def test_a_peer_that_vanishes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open socket answers no ping; the heartbeat frees it."""
    from server import handshake

    monkeypatch.setattr(handshake, "_HEARTBEAT_S", 0.2)
    async with serve(script=Script(step_s=0.05)) as live:
        async with raw(live) as (reader, writer):
            spoken = {"type": "text", "ctx": "a", "text": "One two three four five six."}
            writer.write(frame(json.dumps(spoken).encode()))
            await writer.drain()
            async with asyncio.timeout(5):
                await live.runtime.wait_empty()
        assert await is_alive(live)
