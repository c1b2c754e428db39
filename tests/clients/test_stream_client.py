"""StreamClient against a scripted server: events, multiplexing, cancel, loss, reconnection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from clients.errors import ConnectFailed, ServerError, SessionLost
from clients.events import AudioPacket, ContextCancelled, ContextDone, ContextStarted, Event, Failed
from clients.stream_client import StreamClient, socket_url
from server import messages
from server.encoder import AudioEncoder

Serving = Callable[..., Any]
OPUS = {"codec": "opus", "rate": 24000}


def pcm() -> AudioEncoder:
    return AudioEncoder("pcm_s16le", source_hz=24000, rate_hz=24000)


def samples(num_packets: int) -> Any:
    return np.full(480 * num_packets, 0.25, np.float32)


async def hang(peer: Any) -> None:
    async for _ in peer.socket:
        pass


async def test_one_context_from_text_to_done(serving: Serving, speaking: Any) -> None:
    """The events of a context arrive typed and in order, batches taken apart."""
    async with serving(speaking) as server, StreamClient(server.url) as client:
        assert client.ready.voices == ["default"]
        assert client.ready.notice == "random weights, no speech"
        context = await client.open(voice="anna", format=OPUS)
        await context.send_text("Hel")
        await context.send_text("lo.", flush=True)
        await context.end()
        received = [event async for event in context]
        sent = server.peers[0].received
    assert isinstance(received[0], ContextStarted) and received[0].pre_skip == 312
    packets = [event for event in received if isinstance(event, AudioPacket)]
    assert [packet.seq for packet in packets] == list(range(51))
    assert [packet.pts for packet in packets] == [960 * i for i in range(51)]
    done = received[-1]
    assert isinstance(done, ContextDone) and done.total_samples48 == 48000
    ctx = context.id
    assert sent == [
        {"type": "context.open", "ctx": ctx, "voice": "anna", "format": OPUS},
        {"type": "text", "ctx": ctx, "text": "Hel"},
        {"type": "text", "ctx": ctx, "text": "lo.", "flush": True},
        {"type": "end", "ctx": ctx},
    ]


async def test_every_message_is_what_the_server_decodes(serving: Serving) -> None:
    """Checked with the server's own decoder."""

    heard = asyncio.Event()

    async def script(peer: Any) -> None:
        await peer.hear("cancel")
        heard.set()
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        await client.update_defaults(voice="anna", lead_ms=400)
        context = await client.open(ctx="t1", preempt="fade", speed=1.2)
        await context.flush(3)
        await context.flush()
        await context.ack(120)
        await context.update(speed=0.9)
        await context.cancel(played_ms=100.5, fade_ms=20)
        await heard.wait()
        got = [messages.decode_message(json.dumps(m)) for m in server.peers[0].received]
    assert got == [
        messages.SessionUpdate({"voice": "anna", "lead_ms": 400}),
        messages.ContextOpen("t1", preempt="fade", overrides={"speed": 1.2}),
        messages.Flush("t1", 3),
        messages.Flush("t1"),
        messages.Ack("t1", 120.0),
        messages.Update("t1", {"speed": 0.9}),
        messages.Cancel("t1", 100.5, 20.0),
    ]


async def test_contexts_share_a_session(serving: Serving) -> None:
    """Packets go to the context whose alias they carry; unknown aliases are dropped."""

    async def script(peer: Any) -> None:
        names = [(await peer.hear("context.open"))["ctx"] for _ in range(2)]
        encoders = [pcm(), pcm()]
        for alias, (name, encoder) in enumerate(zip(names, encoders, strict=True), 1):
            await peer.start(name, alias, encoder)
        for _ in range(3):
            for alias, encoder in enumerate(encoders, 1):
                await peer.send_audio(alias, encoder.encode(samples(alias)))
        await peer.send_audio(99, pcm().encode(samples(1)))
        for name, encoder in zip(names, encoders, strict=True):
            await peer.finish(name, encoder, 3)
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        contexts = [await client.open() for _ in range(2)]
        counts = []
        for context in contexts:
            received = [e async for e in context]
            counts.append(sum(isinstance(e, AudioPacket) for e in received))
    assert counts == [3, 6]


async def test_cancel_drops_what_was_not_read(serving: Serving) -> None:
    """After cancel no packet comes out, though some were already received."""

    async def script(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        encoder = pcm()
        await peer.start(ctx, 1, encoder)
        await peer.send_audio(1, encoder.encode(samples(5)))
        await peer.hear("cancel")
        await peer.send_audio(1, encoder.encode(samples(2)), first_seq=5)
        await peer.say(messages.ContextCancelled(ctx, "client", 140, 40, "He", "llo", 3, 6))
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        context = await client.open()
        iterator = aiter(context)
        while not isinstance(await anext(iterator), AudioPacket):
            pass
        await context.cancel(played_ms=40)
        rest: list[Event] = [event async for event in iterator]
    assert len(rest) == 1
    assert isinstance(rest[0], ContextCancelled) and rest[0].text_remaining == "llo"


async def test_fatal_error_ends_its_context_only(serving: Serving) -> None:
    """The other context goes on; an error before the start is fatal, a later one an event."""

    async def script(peer: Any) -> None:
        first = (await peer.hear("context.open"))["ctx"]
        second = (await peer.hear("context.open"))["ctx"]
        error = messages.ErrorMessage(
            "voice_not_found", 404, "voice is 'x'", False, "r1", ctx=first
        )
        await peer.say(error)
        encoder = pcm()
        await peer.start(second, 2, encoder)
        await peer.say(messages.ErrorMessage("bad_message", 400, "speed", False, "r2", ctx=second))
        packets = encoder.encode(samples(2))
        await peer.send_audio(2, packets)
        await peer.finish(second, encoder, len(packets))
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        bad, good = await client.open(voice="x"), await client.open()
        with pytest.raises(ServerError, match="voice_not_found: voice is 'x'") as caught:
            [event async for event in bad]
        assert caught.value.code == "voice_not_found" and not caught.value.retryable
        received = [event async for event in good]
    assert any(isinstance(event, Failed) and event.code == "bad_message" for event in received)
    assert isinstance(received[-1], ContextDone)


async def test_broken_connection_is_made_again_before_the_first_packet(
    serving: Serving, speaking: Any
) -> None:
    """What was sent is sent again, defaults first, and the context goes on as if nothing was."""

    async def broken(peer: Any) -> None:
        await peer.hear("text")
        await peer.socket.close(1012)

    async with serving(broken, speaking) as server, StreamClient(server.url) as client:
        await client.update_defaults(voice="anna")
        context = await client.open(format=OPUS)
        await context.send_text("Hello.")
        await context.end()
        received = [event async for event in context]
        again = [message["type"] for message in server.peers[1].received]
    assert again == ["session.update", "context.open", "text", "end"]
    assert isinstance(received[-1], ContextDone)


async def test_context_with_audio_is_lost_but_the_client_goes_on(
    serving: Serving, speaking: Any
) -> None:
    """What was heard cannot be sent again; a new context uses the new connection."""

    async def half(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        encoder = pcm()
        await peer.start(ctx, 1, encoder)
        await peer.send_audio(1, encoder.encode(samples(2)))
        peer.socket.transport.abort()

    async with serving(half, speaking) as server, StreamClient(server.url) as client:
        context = await client.open()
        with pytest.raises(SessionLost) as caught:
            [event async for event in context]
        assert caught.value.close_code == 1006
        again = await client.open(format=OPUS)
        await again.send_text("Hello.")
        await again.end()
        received = [event async for event in again]
    assert isinstance(received[-1], ContextDone)


async def test_server_that_stays_away_is_given_up(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the attempts allowed, waiting longer each time, the context learns it."""
    monkeypatch.setattr("clients.stream_client._FIRST_BACKOFF_S", 0.001)
    caplog.set_level("INFO", "clients.stream_client")
    leave = asyncio.Event()

    async def script(peer: Any) -> None:
        await leave.wait()
        await peer.socket.close(1012)

    async with serving(script) as server:
        client = await StreamClient(server.url, reconnect_attempts=3).__aenter__()
        context = await client.open()
        leave.set()
    with pytest.raises(SessionLost, match="session lost .1012."):
        [event async for event in context]
    await client.close()
    assert len(caplog.records) == 3


async def test_server_that_breaks_on_what_is_said_is_not_asked_for_ever(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection works, and ends of what is sent again: four of them, then no more."""
    monkeypatch.setattr("clients.stream_client._FIRST_BACKOFF_S", 0.001)

    async def script(peer: Any) -> None:
        await peer.hear("context.open")
        await peer.socket.close(1011)

    async with serving(script) as server, StreamClient(server.url) as client:
        context = await client.open()
        with pytest.raises(SessionLost, match="session lost .1011."):
            [event async for event in context]
    assert len(server.peers) == 4


async def test_refusal_is_final_also_when_reconnecting() -> None:
    """A revoked key is not tried again and again."""
    num_connections = 0

    def refuse(connection: Any, request: Any) -> Response | None:
        nonlocal num_connections
        num_connections += 1
        return None if num_connections == 1 else Response(401, "no", Headers(), b"")

    async def handle(socket: Any) -> None:
        await socket.send('{"type":"ready","session_id":"s"}')
        await socket.recv()
        await socket.close(1012)

    async with serve(handle, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        async with StreamClient(f"ws://127.0.0.1:{port}") as client:
            context = await client.open()
            with pytest.raises(SessionLost):
                [event async for event in context]
    assert num_connections == 2


@pytest.mark.parametrize(("code", "attempts"), [(4401, 3), (1000, 3), (1012, 0)])
async def test_final_end_is_reported_with_its_reason(
    serving: Serving, code: int, attempts: int
) -> None:
    """A refusal is not retried; contexts, pings and later calls all learn why."""

    async def script(peer: Any) -> None:
        await peer.hear("ping")
        await peer.say(messages.ErrorMessage("unauthorized", 401, "key revoked", False, "r1"))
        await peer.socket.close(code)

    async with (
        serving(script) as server,
        StreamClient(server.url, reconnect_attempts=attempts) as client,
    ):
        context = await client.open()
        with pytest.raises(SessionLost, match="unauthorized: key revoked"):
            await client.ping()
        with pytest.raises(SessionLost, match=f"session lost .{code}.: unauthorized"):
            [event async for event in context]
        with pytest.raises(SessionLost):
            await context.send_text("more")
        assert len(server.peers) == 1


async def test_closing_the_client_ends_its_contexts(serving: Serving) -> None:
    """Nobody waits for ever."""
    async with serving(hang) as server:
        client = StreamClient(server.url)
        async with client:
            context = await client.open()
        with pytest.raises(SessionLost, match="the client closed the session"):
            [event async for event in context]


async def test_ping_measures_a_round_trip(serving: Serving) -> None:
    """The answer carries the number that was sent."""

    async def script(peer: Any) -> None:
        t = (await peer.hear("ping"))["t"]
        await peer.say(messages.Pong(1, 12345))
        await peer.say(messages.Pong(1, t))
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        assert 0 < await client.ping() < 5


async def test_nonsense_from_the_server_ends_the_session(serving: Serving) -> None:
    """A binary frame that is none is not skipped over."""

    async def script(peer: Any) -> None:
        await peer.hear("context.open")
        await peer.socket.send(b"???")
        await hang(peer)

    async with serving(script) as server, StreamClient(server.url) as client:
        context = await client.open()
        with pytest.raises(SessionLost, match="binary frame of 3 bytes"):
            [event async for event in context]


async def test_other_servers_are_recognised(serving: Serving) -> None:
    """One that greets with something else is no server of ours."""
    for greeting, reason in (("hello", "no sovits-live server"), ('{"type":"pong"}', "ready")):
        async with serving(hang, greeting=greeting) as server:
            with pytest.raises(ConnectFailed, match=reason):
                await StreamClient(server.url).__aenter__()


async def test_unreachable_server_is_reported(unused_tcp_port: int) -> None:
    """With the address."""
    with pytest.raises(ConnectFailed, match=f"no connection to ws://127.0.0.1:{unused_tcp_port}/"):
        await StreamClient(f"127.0.0.1:{unused_tcp_port}").__aenter__()


async def test_refusal_at_the_upgrade_carries_status_and_retry_after() -> None:
    """Overload is said before the session exists."""

    def refuse(connection: Any, request: Any) -> Response:
        assert request.headers["Authorization"] == "Bearer key"
        return Response(503, "busy", Headers({"Retry-After": "2", "Content-Length": "4"}), b"busy")

    async with serve(hang, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="refused with HTTP 503 busy") as caught:
            await StreamClient(f"ws://127.0.0.1:{port}", "key").__aenter__()
    assert (caught.value.status, caught.value.retry_after_s) == (503, 2.0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:8080", "ws://h:8080/v1/tts/ws"),
        ("h:8080/", "ws://h:8080/v1/tts/ws"),
        ("https://h", "wss://h/v1/tts/ws"),
        ("ws://h/other?voice=x", "ws://h/other?voice=x"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    """What people type becomes the socket's address."""
    assert socket_url(url) == expected


@pytest.mark.parametrize("url", ["ftp://h", "ws://", ""])
def test_no_addresses(url: str) -> None:
    """The error shows what is valid."""
    with pytest.raises(ConnectFailed, match="valid: ws://HOST:PORT"):
        socket_url(url)
