"""Whole commands against servers on real sockets.

A busy machine makes any script late, so clocks are compared with when the server did send: its own
stamps, of the same clock. The median of some utterances is within 2 ms of them, and none is before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from bench import latency
from bench.clocks import Clocks, measure
from bench.targets.base import Line
from bench.targets.connect import opener
from tests.bench.scripted import CONFIG, TWO_MS, Packets, done, pcm, silence, speech, started

HELLO = Line(("Hello.",))
UTTERANCES = 7


@dataclass
class Script:
    """What a server does with each text, and when it did.

    Attributes:
        pieces: Seconds after the piece before, or after the text, and what is sent then.
        sent_s: Of each utterance, when each piece was handed to the socket.
    """

    pieces: Sequence[tuple[float, bytes]]
    declared_s: float = 0.0
    sent_s: list[list[float]] = field(default_factory=list)

    async def play(self, send: Any) -> None:
        """Send the pieces."""
        stamps: list[float] = []
        self.sent_s.append(stamps)
        for after_s, piece in self.pieces:
            await asyncio.sleep(after_s)
            stamps.append(time.perf_counter())
            await send(piece)


def steady() -> Script:
    """Five packets of 100 ms, the first after 60 ms, then every 30."""
    make = Packets()
    pieces = [(0.03 if i else 0.06, make(speech(0.1, i))) for i in range(5)]
    return Script(pieces, 0.5)


class NativeServer:
    """Speaks the native protocol; every context is one run of the script."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def __call__(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        await socket.send(json.dumps({"type": "ready", "session_id": "s"}))
        async for data in socket:
            message = json.loads(data)
            if message["type"] == "context.open":
                await socket.send(started(message["ctx"]))
            if message["type"] == "text":
                await self._script.play(socket.send)
                await socket.send(done(self._script.declared_s, message["ctx"]))


async def native_clocks(script: Script) -> list[Clocks]:
    """Speak some utterances on one WebSocket."""
    async with serve(NativeServer(script), "127.0.0.1", 0, subprotocols=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = await opener("native", replace(CONFIG, url=url))()
        found = [measure(await session.speak(HELLO)) for _ in range(UTTERANCES)]
        await session.close()
    return found


async def http_clocks(script: Script) -> list[Clocks]:
    """Speak some utterances with requests of the OpenAI kind."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await script.play(response.write)
        return response

    app = web.Application()
    app.router.add_post("/v1/audio/speech", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        config = replace(CONFIG, url=f"http://127.0.0.1:{runner.addresses[0][1]}")
        session = await opener("openai", config)()
        found = [measure(await session.speak(HELLO)) for _ in range(UTTERANCES)]
        await session.close()
    finally:
        await runner.cleanup()
    return found


@pytest.mark.parametrize("kind", ["native", "openai"])
async def test_clocks_are_within_2_ms_of_what_the_server_did(kind: str) -> None:
    """The first packet, and every gap after it."""
    script = steady()
    if kind == "openai":
        script.pieces = [(after_s, pcm(speech(0.1, i))) for i, (after_s, _) in
                         enumerate(script.pieces)]  # fmt: skip
    found = await (native_clocks(script) if kind == "native" else http_clocks(script))
    assert [clocks.problems for clocks in found] == [()] * UTTERANCES
    late = []
    for clocks, stamps in zip(found, script.sent_s, strict=True):
        sent = np.asarray(stamps)
        heard = sent[0] + np.concatenate([[0.0], np.cumsum(clocks.gaps_s)])
        late += list(np.abs(heard - sent))
        assert clocks.first_byte_s is not None and clocks.first_byte_s >= 0.06
        assert clocks.first_byte_s == clocks.first_frame_s
        assert clocks.wall_s is not None and clocks.wall_s >= sent[-1] - sent[0]
    assert float(np.median(late)) < TWO_MS
    firsts = [clocks.first_byte_s or 0.0 for clocks in found]
    assert min(firsts) == pytest.approx(0.06, abs=0.02)  # the script, where the machine let it


@dataclass(frozen=True, slots=True)
class Fault:
    """Pieces with one thing wrong, and what the report calls it."""

    script: Script
    problems: tuple[str, ...]
    status: int = 1


def faults() -> list[Fault]:
    """Return one of each kind that a socket can have."""
    silent, twice, missing = Packets(), Packets(), Packets()
    gap, short = Packets(), Packets()
    return [
        Fault(Script([(0.01, silent(silence(0.3))), (0, silent(speech(0.3)))], 0.6),
              ("leading_silence",), 0),
        Fault(Script([(0.01, twice(speech(0.1, n), seq=n)) for n in (0, 1, 1, 2)], 0.4),
              ("repeated_packet", "repeated_audio")),
        Fault(Script([(0.01, missing(speech(0.1, n), seq=n)) for n in (0, 1, 3)], 0.3),
              ("missing_packet",)),
        Fault(Script([(0.01, short(speech(0.5)))], 1.0), ("missing_audio",)),
        Fault(Script([(0.01, gap(speech(0.2, 1))), (0.5, gap(speech(0.3, 2)))], 0.5),
              (), 0),
    ]  # fmt: skip


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: "/".join(fault.problems) or "gap")
async def test_the_command_finds_what_was_planted(fault: Fault, tmp_path: Path) -> None:
    """In its JSON and its page, with a status that says whether the audio was wrong."""
    async with serve(NativeServer(fault.script), "127.0.0.1", 0, subprotocols=None) as server:
        port = server.sockets[0].getsockname()[1]
        file, page = tmp_path / "a.json", tmp_path / "a.html"
        words = [f"--url=ws://127.0.0.1:{port}", "--text=Hello.", "--requests=2", "--warmups=0"]
        status = await asyncio.to_thread(command, *words, f"--json={file}", f"--report={page}")
    summary = json.loads(file.read_text())["levels"][0]["summary"]
    assert status == fault.status
    assert summary["problems"] == dict.fromkeys(fault.problems, 2)
    assert all(problem in page.read_text() for problem in fault.problems)
    if not fault.problems:
        assert [found["gaps"] for found in summary["underruns"].values()] == [2, 2, 2]
        stalled_s = summary["underruns"]["100"]["stalled_s"] / 2
        assert 0.28 <= stalled_s < 0.5  # 500 ms after a packet of 200 ms


def command(*words: str) -> int:
    """Run `bench latency`."""
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    return latency.run(parser.parse_args(words))


async def test_what_a_server_refuses_is_told_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No clock at all, and the server's own words instead of a riddle."""

    async def refuse(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "ready", "session_id": "s"}))
        async for data in socket:
            answer = {"code": "unknown_voice", "message": "no such voice", "fatal": False}
            await socket.send(
                json.dumps({"type": "error", "ctx": json.loads(data)["ctx"]} | answer)
            )

    async with serve(refuse, "127.0.0.1", 0, subprotocols=None) as server:
        url = f"--url=ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await asyncio.to_thread(command, url, "--requests=2", "--warmups=0") == 1
    told = capsys.readouterr().out
    assert "2 of 2: unknown_voice: no such voice" in told and "WRONG: error 2" in told
    assert "first_byte" not in told


@pytest.mark.parametrize("words", [("--concurrency=1.5",), ("--concurrency=0",), ("--rate=-1",)])
def test_levels_that_cannot_be_are_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is cut down to what would do."""
    assert command("--url=ws://127.0.0.1:1", *words) == 1
    assert words[0].partition("=")[2] in capsys.readouterr().err
