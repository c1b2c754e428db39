"""The native socket, end to end: aiohttp's server, the `websockets` client, a scripted engine."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from engine.types import Language, Sampling
from server import session
from server.frames import Flags
from tests.fakes import Script, ScriptedEngine
from tests.server.live import Client, serve


async def test_text_becomes_opus_packets() -> None:
    """The example of the README: text, packets, the end."""
    async with serve() as live, live.session() as client:
        assert client.ws.subprotocol == "sovits.tts.v1"
        assert client.ready["voices"] == ["anna", "bob"]
        assert client.ready["notice"] == "no speech"
        assert client.ready["limits"]["max_contexts"] == 8
        await client.send("text", ctx="t1", text="Hello everybody, ")
        await client.send("text", ctx="t1", text="welcome.", end=True)
        started = await client.next("context.started")
        assert (started["codec"], started["rate"], started["pre_skip"]) == ("opus", 24000, 312)
        done = await client.next("context.done")
        headers = client.headers(started["alias"])
        assert headers[0].flags & Flags.FIRST and headers[-1].flags & Flags.LAST
        assert sum(h.duration for h in headers) >= done["total_samples48"] + 312
        kinds = client.kinds()
        assert kinds[:3] == ["ready", "context.started", "segment.started"]
        assert kinds[-1] == "context.done"


async def test_audio_comes_before_the_text_is_complete() -> None:
    """The first packet arrives while later text has not been written."""
    async with serve() as live, live.session() as client:
        await client.send("text", ctx="a", text="Hello everybody. This is ")
        await client.packet()
        await client.send("text", ctx="a", text="the rest.", end=True)
        await client.next("context.done")


async def test_first_packet_is_sent_before_the_last_token_exists() -> None:
    """Must-hold 2: asserted by order of events, not by time."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, live.session() as client:
        await client.send("text", ctx="a", text="Hello everybody.", end=True)
        await client.packet()
        assert not any(e.startswith("token 0.28") for e in live.engine.journal)
        gate.set()
        await client.next("context.done")
        assert any(e.startswith("token 0.28/28") for e in live.engine.journal)


async def test_cancel_mid_sentence_is_a_barrier() -> None:
    """Must-hold 4: the answer comes, no frame after it, the engine is left."""
    async with serve(script=Script(step_s=0.005)) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five six seven.", end=True)
        await client.send("text", ctx="b", text="Eight nine ten eleven twelve.", end=True)
        alias = (await client.next("context.started", ctx="a"))["alias"]
        await client.packet(alias)
        await client.send("cancel", ctx="a", played_ms=90)
        cancelled = await client.next("context.cancelled")
        assert cancelled["text_spoken"] == "O"
        assert cancelled["stop_ms"] < 1000
        assert live.engine.active == {2}
        before = len(client.headers(alias))
        assert cancelled["last_seq"] == client.headers(alias)[-1].seq
        await client.next("context.done", ctx="b")
        assert len(client.headers(alias)) == before


async def test_preempt_and_cancel_star() -> None:
    """One message stops the others."""
    async with serve(script=Script(step_s=0.01)) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five six seven.")
        await client.send("context.open", ctx="b", preempt="fade", voice="bob")
        started = await client.next("context.started", ctx="b")
        assert started["voice"] == "bob"
        cancelled = await client.next("context.cancelled")
        assert (cancelled["reason"], cancelled["fade_ms"]) == ("preempted", 120)
        await client.send("cancel", ctx="*")
        assert (await client.next("context.cancelled"))["ctx"] == "b"
        assert not live.engine.active


BAD_INPUT: list[tuple[str, Any, str]] = [
    ("malformed JSON", '{"type":"text",', "bad_json"),
    ("no such voice", {"type": "context.open", "ctx": "x", "voice": "zoe"}, "voice_not_found"),
    ("no such style", {"type": "context.open", "ctx": "x", "style": "mad"}, "voice_not_found"),
    ("1 MB text", {"type": "text", "ctx": "x", "text": "a" * 1_000_000}, "text_too_long"),
    ("10 kB text", {"type": "text", "ctx": "x", "text": "a" * 10_000}, "buffer_full"),
    ("language unknown", {"type": "context.open", "ctx": "x", "lang": "xx"}, "unsupported_lang"),
    ("language absent", {"type": "context.open", "ctx": "x", "lang": "ja"}, "unsupported_lang"),
    ("text in it", {"type": "text", "ctx": "x", "text": "カラ。", "end": True}, "unsupported_lang"),
    ("wrong type", {"type": "text", "ctx": "x", "text": 5}, "bad_message"),
    ("wrong range", {"type": "context.open", "ctx": "x", "speed": 50}, "bad_message"),
    ("long lead", {"type": "context.open", "ctx": "x", "lead_ms": 60000}, "bad_message"),
    (
        "32 kHz Opus",
        {"type": "context.open", "ctx": "x", "sample_rate": 32000},
        "unsupported_format",
    ),
    ("binary", b"\x00\x01", "binary_not_allowed"),
]


async def test_bad_input_gets_its_error_and_disturbs_nobody() -> None:
    """Must-hold 5: a context beside all of it speaks to its end, packet by packet."""
    settings = "server.limits.lead_ms_max=5000"
    async with serve(settings, script=Script(step_s=0.01)) as live, live.session() as client:
        await client.send("text", ctx="good", text="One two three four five six seven eight.")
        alias = (await client.next("context.started", ctx="good"))["alias"]
        for name, data, code in BAD_INPUT:
            await client.ws.send(data if isinstance(data, str | bytes) else json.dumps(data))
            error = await client.next("error")
            assert error["code"] == code, name
            assert error["status"] >= 400 and error["request_id"] and error["message"], name
            await client.send("cancel", ctx="x")
            await client.send("ping", t=name)
            assert (await client.next("pong"))["t"] == name
        await client.send("end", ctx="good")
        done = await client.next("context.done", ctx="good")
        seqs = [header.seq for header in client.headers(alias)]
        assert seqs == sorted(set(seqs))
        assert done["usage"]["chars"] == 40


@pytest.mark.parametrize("text", ["", "😀🎉", "  "])
async def test_nothing_to_speak_ends_normally(text: str) -> None:
    """Empty and emoji-only text: a short silence and done, no error."""
    async with serve() as live, live.session() as client:
        await client.send("text", ctx="a", text=text, end=True)
        done = await client.next("context.done")
        assert 20 * 48 <= done["total_samples48"] <= 100 * 48
        assert client.headers()


async def test_a_failed_sentence_ends_its_context_only() -> None:
    """The other context of the socket goes on."""
    script = Script(fail_text="Two two.", step_s=0.002)
    async with serve(script=script) as live, live.session() as client:
        await client.send("text", ctx="a", text="One one one.", end=True)
        await client.send("text", ctx="b", text="Two two.", end=True)
        error = await client.next("error")
        assert (error["code"], error["ctx"], error["fatal"]) == ("engine_failed", "b", True)
        await client.next("context.done", ctx="a")
        assert not live.engine.active


async def test_three_bad_messages_in_a_row_close() -> None:
    """4400 for JSON, 1003 for binary; the last error says that it is fatal."""
    async with serve() as live:
        for data, code in (("{", 4400), (b"x", 1003)):
            async with live.session() as client:
                for _ in range(3):
                    await client.ws.send(data)
                await client.rest()
                assert client.ws.close_code == code
                assert [e["fatal"] for e in client.log if e["type"] == "error"] == [0, 0, 1]


async def test_a_frame_beyond_the_library_limit_closes_with_1009() -> None:
    """Three megabytes in one message are not even parsed."""
    async with serve() as live, live.session() as client:
        with pytest.raises(ConnectionClosed):
            await client.ws.send("x" * 3_000_000)
            await client.rest()
            raise ConnectionClosed(None, None)
        assert client.ws.close_code == 1009


async def test_close_drain_finishes_and_close_now_does_not() -> None:
    """Both end with 1000."""
    async with serve(script=Script(step_s=0.01)) as live:
        async with live.session() as client:
            await client.send("text", ctx="a", text="One two three.", end=True)
            await client.send("close")
            await client.rest()
            assert client.ws.close_code == 1000
            assert client.kinds()[-1] == "context.done"
        async with live.session() as client:
            await client.send("text", ctx="a", text="One two three.", end=True)
            await client.send("close", mode="now")
            await client.rest()
            assert client.ws.close_code == 1000
            assert client.kinds()[-1] == "context.cancelled"


async def test_an_abrupt_disconnect_frees_everything() -> None:
    """No utterance outlives its socket."""
    async with serve(script=Script(step_s=0.02)) as live:
        async with live.session() as client:
            await client.send("text", ctx="a", text="One two three four five six.", end=True)
            await client.packet()
            client.ws.transport.abort()
        await live.runtime.wait_empty()
        assert not live.engine.active
        assert live.runtime.admission.num_connections == 0
        assert live.runtime.admission.num_contexts == 0
        assert len(live.engine.forgotten) == 1


async def test_contexts_of_all_sessions_are_limited() -> None:
    """`overloaded` with a time to come back, by context, not by connection."""
    settings = "server.limits.max_active_contexts=1"
    async with serve(settings, script=Script(step_s=0.01)) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three.")
        await client.next("context.started")
        await client.send("text", ctx="b", text="One two three.", end=True)
        error = await client.next("error")
        assert (error["code"], error["ctx"], error["retry_after_ms"]) == ("overloaded", "b", 500)
        await client.send("end", ctx="a")
        await client.next("context.done", ctx="a")
        await client.send("text", ctx="b", text="One.", end=True)
        await client.next("context.done", ctx="b")


async def test_an_idle_session_ends() -> None:
    """4408, with an error that says so first."""
    async with serve("server.limits.idle_timeout_s=0.3") as live, live.session() as client:
        await client.rest()
        assert client.ws.close_code == 4408
        assert client.log[-1]["code"] == "idle_timeout"


async def test_a_session_that_says_nothing_at_first_ends() -> None:
    """Long before the one that pauses; a ping is enough to stay."""
    limit = "server.limits.first_message_s=0.3"
    async with serve(limit) as live, live.session() as mute, live.session() as other:
        assert mute.ready["limits"]["first_message_s"] == 0.3
        await other.send("ping")
        await mute.rest()
        assert (mute.ws.close_code, mute.log[-1]["code"]) == (4408, "idle_timeout")
        assert "no message came for 0.3 s" in mute.log[-1]["message"]
        await other.send("text", ctx="a", text="One.", end=True)
        await other.next("context.done")


async def test_an_old_session_finishes_its_contexts() -> None:
    """going_away, then 4408."""
    settings = "server.limits.session_ttl_s=0.1"
    async with serve(settings, script=Script(step_s=0.02)) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five six seven.", end=True)
        await client.rest()
        assert client.ws.close_code == 4408
        assert client.kinds()[-1] == "context.done"
        assert "going_away" in client.kinds()


async def test_a_listener_who_stops_acknowledging_is_dropped() -> None:
    """Generation stops by the lead window, then the session with 4480."""
    settings = ("server.limits.write_stall_s=0.3", "audio.lead_ms=200")
    async with serve(*settings) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five six. " * 5, end=True)
        await client.packet()
        await client.send("ack", ctx="a", played_ms=20)
        await client.rest()
        assert client.ws.close_code == 4480
        assert client.log[-1]["code"] == "slow_consumer"
        sent_s = sum(header.duration for header in client.headers()) / 48000
        assert sent_s < 2


async def test_a_socket_that_is_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer blocks on a full socket; the server gives up and frees the slot."""
    monkeypatch.setattr(session, "_CLOSE_TIMEOUT_S", 0.1)
    settings = ("server.limits.write_stall_s=0.3", "audio.lead_ms=0")
    text = "One two three four five six seven eight. " * 150
    async with serve(*settings) as live:
        port = int(live.http.rsplit(":", 1)[1])
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", port))
        await loop.sock_sendall(raw, _upgrade_request(port))
        assert b"101" in await loop.sock_recv(raw, 12)
        audio = {"codec": "pcm_s16le", "rate": 48000}
        opened = {"type": "context.open", "ctx": "a", "format": audio}
        spoken = {"type": "text", "ctx": "a", "text": text, "end": True}
        for message in (opened, spoken):
            await loop.sock_sendall(raw, _client_frame(json.dumps(message)))
        async with asyncio.timeout(10):
            await live.runtime.wait_empty()
        assert live.engine.jobs
        raw.close()
        assert not live.engine.active


def _upgrade_request(port: int) -> bytes:
    lines = (
        "GET /v1/tts/ws HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def _client_frame(text: str) -> bytes:
    """Return a masked text frame (RFC 6455 5.2), the mask all zero."""
    payload = text.encode()
    return b"\x81" + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


async def test_a_flood_is_read_slowly_and_loses_nothing() -> None:
    """Beyond msgs_per_s the server reads later; a warning says so once."""
    async with serve("server.limits.msgs_per_s=10") as live, live.session() as client:
        for number in range(27):
            await client.send("ping", t=number)
        pongs = [await client.next("pong") for _ in range(27)]
        assert [pong["t"] for pong in pongs] == list(range(27))
        assert client.kinds().count("warning") == 1


async def test_an_endless_flood_is_closed() -> None:
    """4429 after write_stall_s of it."""
    settings = ("server.limits.msgs_per_s=20", "server.limits.write_stall_s=0.2")
    async with serve(*settings) as live, live.session() as client:
        reading = asyncio.create_task(client.rest())
        with pytest.raises(ConnectionClosed):
            for number in range(2000):
                await client.send("ping", t=number)
                await asyncio.sleep(0.001)
        await reading
        assert client.ws.close_code == 4429
        assert client.log[-1]["code"] == "rate_limited"


async def test_drain_loses_no_packet_of_an_open_context() -> None:
    """going_away, no new context, the open one to its end, 1012."""
    async with serve(script=Script(step_s=0.005)) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four five.", end=True)
        alias = (await client.next("context.started"))["alias"]
        drained = asyncio.create_task(live.runtime.drain())
        await client.next("going_away")
        await client.send("text", ctx="b", text="x")
        assert (await client.next("error"))["code"] == "draining"
        await client.rest()
        await drained
        assert client.ws.close_code == 1012
        assert client.kinds()[-1] == "context.done"
        headers = client.headers(alias)
        assert headers[-1].flags & Flags.LAST


async def test_drain_gives_up_at_its_deadline() -> None:
    """A context that never ends does not keep the server."""
    settings = "server.drain_s=0.2"
    async with serve(settings) as live, live.session() as client:
        await client.send("text", ctx="a", text="One")
        await client.next("context.started")
        await live.runtime.drain()
        await client.rest()
        assert client.ws.close_code == 1012


async def test_the_engine_dying_is_a_retryable_error() -> None:
    """An engine that is not ready refuses by context; the session stays."""
    engine = ScriptedEngine()
    async with serve(engine=engine) as live, live.session() as client:
        engine.script.fail_text = "One."
        await client.send("text", ctx="a", text="One.", end=True)
        error = await client.next("error")
        assert (error["code"], error["retryable"]) == ("engine_failed", True)
        await client.send("text", ctx="a", text="Two.", end=True)
        await client.next("context.done")


async def _settings_of(client: Client) -> dict[str, Any]:
    await client.send("session.update")
    return dict((await client.next("session.updated"))["defaults"])


@pytest.mark.parametrize(
    ("languages", "voice"),
    [
        ((), "anna"),
        ((Language.ZH, Language.EN), "anna"),
        ((Language.EN, Language.ZH), "bob"),
        ((Language.JA, Language.EN), "anna"),
    ],
)
async def test_who_speaks_where_nobody_is_named(
    languages: tuple[Language, ...], voice: str
) -> None:
    """A voice of the pack's first language, where there is one: anna speaks zh, bob en."""
    async with serve(script=Script(languages=languages)) as live, live.session() as client:
        assert (await _settings_of(client))["voice"] == voice


async def test_the_url_sets_defaults() -> None:
    """voice, format and rate before the first message."""
    query = "?voice=bob&format=pcm_s16le&sample_rate=16000&speed=1.25&lead_ms=300"
    async with serve() as live, live.session(query) as client:
        defaults = await _settings_of(client)
        assert defaults["voice"] == "bob"
        assert defaults["format"] == {
            "codec": "pcm_s16le",
            "rate": 16000,
            "frame_ms": 20,
            "bitrate": 32000,
        }
        assert (defaults["speed"], defaults["lead_ms"]) == (1.25, 300)


async def test_what_a_client_does_not_say_is_sampled_as_the_pack_says() -> None:
    """The pack's sampling is in the defaults and reaches the engine; the server's and a
    context's own values come before it."""
    script = Script(sampling=Sampling(temperature=0.7, repetition_penalty=1.05))
    async with serve("audio.top_p=0.9", script=script) as live, live.session() as client:
        defaults = await _settings_of(client)
        chosen = [defaults[n] for n in ("top_k", "top_p", "temperature", "repetition_penalty")]
        assert chosen == [15, 0.9, 0.7, 1.05]
        await client.send("context.open", ctx="a", temperature=1.2)
        await client.send("text", ctx="a", text="One.", end=True)
        await client.next("context.done")
    params = live.engine.jobs[0].params
    sampled = (params.top_k, params.top_p, params.temperature, params.repetition_penalty)
    assert sampled == (15, 0.9, 1.2, 1.05)


async def test_a_language_the_pack_was_not_trained_on_is_refused() -> None:
    """Whatever frontends are installed; AUTO stays allowed."""
    script = Script(languages=(Language.ZH,))
    async with serve(script=script) as live, live.session() as client:
        await client.send("context.open", ctx="a", lang="en")
        refused = await client.next("error")
        assert refused["code"] == "unsupported_lang"
        assert refused["message"] == (
            "lang is 'en', valid for the model scripted: zh, auto; for one that speaks it: "
            "sovits-live model pull v2ProPlus && sovits-live serve --pack v2ProPlus"
        )
        await client.send("context.open", ctx="b", lang="auto")
        await client.send("text", ctx="b", text="好。", end=True)
        await client.next("context.done")


async def test_update_applies_to_the_next_sentence() -> None:
    """And a voice that is not there is refused without harm."""
    async with serve() as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three four. ")
        await client.next("segment.done")
        await client.send("update", ctx="a", voice="zoe")
        assert (await client.next("error"))["code"] == "voice_not_found"
        await client.send("update", ctx="a", voice="bob", speed=1.5)
        await client.send("text", ctx="a", text="Five six seven.", flush=True)
        await client.next("flush.done")
        jobs = [(job.voice_id, job.params.speed) for job in live.engine.jobs]
        assert jobs == [("anna", 1.0), ("bob", 1.5)]


async def test_a_bug_in_a_session_closes_it_with_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never with an HTTP answer in the middle of the stream."""
    async with serve() as live, live.session() as client:

        def explode(*args: object) -> None:
            raise RuntimeError("bug")

        monkeypatch.setattr(session.Session, "_handle", explode)
        await client.send("text", ctx="a", text="One.")
        await client.rest()
        assert client.ws.close_code == 1011
