"""DashScope's CosyVoice socket, with a raw client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from clients.ogg import read_ogg_opus
from server.admission import hash_key
from tests.fakes import Script
from tests.server.dialects.sockets import Peer, int16, peer
from tests.server.live import serve

PATH = "/api-ws/v1/inference"
RATE_HZ = 24000
LETTER = 2 * RATE_HZ // 25


def command(action: str, task: str = "t1", **fields: Any) -> dict[str, Any]:
    """Return a message as the SDK writes it."""
    payload = {"input": {}, **fields}
    return {
        "header": {"action": action, "task_id": task, "streaming": "duplex"},
        "payload": payload,
    }


def run_task(task: str = "t1", **parameters: Any) -> dict[str, Any]:
    """Return the start of a task."""
    defaults = {"voice": "anna", "format": "pcm", "sample_rate": RATE_HZ, "volume": 50, "rate": 1.0}
    return command("run-task", task, parameters={**defaults, **parameters}, model="cosyvoice-v3")


def events(client: Peer) -> list[str]:
    """Return the events, audio as "audio"."""
    return ["audio" if isinstance(m, bytes) else m["header"]["event"] for m in client.log]


async def until(client: Peer, event: str) -> dict[str, Any]:
    """Return the next message of an event."""
    while True:
        message = await client.receive()
        if isinstance(message, dict) and message["header"]["event"] == event:
            return message


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
async def test_a_task_from_start_to_finish(path: str) -> None:
    """Rule 9: task-started first, task-finished once and last, audio is binary."""
    async with serve() as live, peer(live, path) as client:
        await client.send(
            run_task(word_timestamp_enabled=True),
            command("continue-task", input={"text": "你好。"}),
            command("continue-task", input={"text": "abc."}),
            command("finish-task"),
        )
        finished = await until(client, "task-finished")
        assert await client.quiet(0.05)
    seen = events(client)
    assert seen[0] == "task-started" and seen[-1] == "task-finished"
    assert seen.count("task-started") == seen.count("task-finished") == 1
    assert finished["payload"]["usage"]["characters"] == 2 * 2 + 1 + 4
    assert (int16(client.bytes()) != 0).sum() == pytest.approx(5 * LETTER, abs=200)
    outputs = [
        m["payload"]["output"]
        for m in client.log
        if isinstance(m, dict) and m["header"]["event"] == "result-generated"
    ]
    assert [o["type"] for o in outputs] == ["sentence-begin", "sentence-end"] * 2
    assert outputs[0]["original_text"] == "你好。"
    words = outputs[3]["sentence"]["words"]
    assert [word["text"] for word in words] == ["a", "b", "c"]
    assert words[0]["begin_index"] == 3 and words[0]["begin_time"] <= words[0]["end_time"]


async def test_a_cancelled_task_finishes_without_more_audio() -> None:
    """`directive: cancel`; the next task runs on the same socket."""
    gate = asyncio.Event()
    async with serve(script=Script(gates={0: gate})) as live, peer(live, PATH) as client:
        await client.send(
            run_task(), command("continue-task", input={"text": "abcdefgh", "flush": True})
        )
        await client.binary()
        await client.send(command("finish-task", input={"directive": "cancel"}))
        await until(client, "task-finished")
        count = len(client.bytes())
        gate.set()
        assert await client.quiet(0.05)
        assert not live.engine.active
        await client.send(run_task("t2"), command("continue-task", "t2", input={"text": "abc"}))
        await client.send(command("finish-task", "t2"))
        await until(client, "task-finished")
    assert len(client.bytes()) - count == 2 * 3 * LETTER


async def test_a_flush_speaks_without_a_boundary() -> None:
    """`input.flush` while the task stays open."""
    async with serve() as live, peer(live, PATH) as client:
        await client.send(
            run_task(),
            command("continue-task", input={"text": "ab"}),
            command("continue-task", input={"flush": True}),
        )
        assert await client.binary()
        await client.send(command("finish-task"))
        await until(client, "task-finished")
    assert len(int16(client.bytes())) == 2 * LETTER


async def test_failures_are_task_failed_with_code_and_message() -> None:
    """Unknown voice, a second task, a task that does not run, a broken engine."""
    async with serve(script=Script(fail_text="abcdefgh")) as live, peer(live, PATH) as client:
        for messages, code in [
            ([run_task(voice="nobody")], "voice_not_found"),
            ([run_task(format="midi")], "unsupported_format"),
            ([command("continue-task", "t9", input={"text": "a"})], "context_unknown"),
            (
                [
                    run_task(),
                    command("continue-task", input={"text": "abcdefgh"}),
                    command("finish-task"),
                ],
                "engine_failed",
            ),
        ]:
            await client.send(*messages)
            failed = await until(client, "task-failed")
            assert failed["header"]["error_code"] == code and failed["header"]["error_message"]
        await client.send(run_task("t5"), command("finish-task", "t5"))
        await until(client, "task-finished")


@pytest.mark.parametrize(
    ("name", "head"), [("wav", b"RIFF"), ("mp3", b"\xff"), ("Default", b"\xff"), ("opus", b"OggS")]
)
async def test_formats(name: str, head: bytes) -> None:
    """What the SDK's AudioFormat names; "Default" with rate 0 is MP3."""
    async with serve() as live, peer(live, PATH) as client:
        rate = 0 if name == "Default" else RATE_HZ
        await client.send(run_task(format=name, sample_rate=rate, bit_rate=32))
        await client.send(command("continue-task", input={"text": "abc"}), command("finish-task"))
        await until(client, "task-finished")
    data = client.bytes()
    assert data.startswith(head)
    if name == "opus":
        assert read_ogg_opus(data).total_samples48 == 3 * 2 * LETTER


async def test_the_key_is_asked_for_at_the_handshake(tmp_path: Any) -> None:
    """Rule 11, with the word this SDK uses."""
    keys = tmp_path / "keys"
    keys.write_text(f"me {hash_key('secret')}\n")
    async with serve(f"server.keys_file={keys}") as live:
        with pytest.raises(InvalidStatus) as refused:
            async with peer(live, PATH, additional_headers={"Authorization": "bearer nope"}):
                pass
        assert refused.value.response.status_code == 401
        headers = {"Authorization": "bearer secret"}
        async with peer(live, PATH, additional_headers=headers) as client:
            await client.send(run_task())
            await until(client, "task-started")


async def test_messages_that_make_no_sense_end_the_connection() -> None:
    """Each is answered, three in a row are enough."""
    async with serve() as live, peer(live, PATH) as client:
        await client.ws.send("{")
        await client.ws.send("[]")
        await client.send({"header": {"action": "dance", "task_id": "t"}})
        code, _ = await client.rest()
    assert code == 1008
    assert events(client) == ["task-failed"] * 3
