"""The JavaScript client's socket breaks, and the speech goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from clients.events import AudioPacket, ContextDone
from clients.stream_client import StreamClient
from tests.clients.chromium import browse
from tests.clients.web_pages import imported, samples_of, served

pytestmark = pytest.mark.browser

FIRST, SECOND = "Hello there, and welcome to this. ", "And this is what was said meanwhile."
AUDIO = {"codec": "pcm_s16le", "rate": 48000}


class Relay:
    """A network between a client and a server, which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_down = False
        self.num_connections = self.num_refused = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways."""
        if self.is_down:
            self.num_refused += 1
            writer.transport.abort()
            return
        self.num_connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    def cut(self) -> None:
        """Lose everything that is on its way."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def relayed(port: int) -> AsyncIterator[tuple[Relay, str]]:
    """Run a relay; its address."""
    relay = Relay(port)
    server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    async with server:
        yield relay, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


SPEAK = """
  globalThis.live = new SovitsLive({ url: "%s" });
  globalThis.states = [];
  for (const type of ["resuming", "sessionresumed", "closed"]) {
    live.addEventListener(type, () => states.push(type));
  }
  globalThis.speech = await live.open({ seed: 5, lead_ms: 300, format: %s });
  globalThis.parts = [];
  globalThis.said = { texts: [], problems: [], numbers: [] };
  speech.addEventListener("samples", (event) => parts.push(event.detail.slice()));
  speech.addEventListener("segment", (event) => said.texts.push(event.detail.text));
  speech.addEventListener("failed", (event) => said.problems.push(event.detail.code));
  speech.addEventListener("packet", (event) => said.numbers.push(event.detail.seq));
  speech.addEventListener("done", (event) => (said.done = event.detail));
  speech.send("%s");
  speech.flush();
"""
FINISH = """
  const over = await speech.over;
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return { samples: encode(all), over, states, ...said };
"""


async def expected(url: str) -> np.ndarray:
    """Return what a client hears whose socket holds."""
    async with StreamClient(url) as client:
        context = await client.open(seed=5, lead_ms=0, format=AUDIO)
        await context.send_text(FIRST, flush=True)
        await context.send_text(SECOND)
        await context.end()
        events = [event async for event in context]
    assert isinstance(events[-1], ContextDone)
    data = b"".join(event.payload for event in events if isinstance(event, AudioPacket))
    return np.frombuffer(data, "<i2") / 32768


async def test_a_speech_goes_on_over_another_socket(chromium: str) -> None:
    """Cut in the middle, with text written meanwhile: every sample and letter once, no error."""
    async with (
        served("audio.voice=fake", 'server.origins=["*"]') as live,
        relayed(int(live.http.rsplit(":", 1)[1])) as (relay, url),
        browse(chromium) as page,
    ):
        reference = await expected(live.http)
        await page.open(live.http + "/web/mixer.js")
        audio = '{ codec: "pcm_s16le", rate: 48000 }'
        await imported(page, SPEAK % (url, audio, FIRST))
        await page.until("said.numbers.length > 10")
        relay.is_down = True
        relay.cut()
        await page.until("states.length > 0")
        await imported(page, f'speech.send("{SECOND}"); speech.end();')
        while relay.num_refused < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        relay.is_down = False
        result: Any = await imported(page, FINISH)
        await imported(page, "live.close();")
    assert result["problems"] == []
    assert result["states"] == ["resuming", "sessionresumed"]
    assert "".join(result["texts"]) == FIRST + SECOND
    assert result["numbers"] == sorted(set(result["numbers"]))
    assert result["over"]["played"] == result["done"]["total_samples48"] == len(reference)
    np.testing.assert_allclose(samples_of(result["samples"]), reference, atol=1e-4)
    assert relay.num_connections == 2


async def test_a_session_that_is_gone_is_told(chromium: str) -> None:
    """The server forgot it: the speech fails by name, and the next one is spoken."""
    async with (
        served("audio.voice=fake", 'server.origins=["*"]') as live,
        relayed(int(live.http.rsplit(":", 1)[1])) as (relay, url),
        browse(chromium) as page,
    ):
        await page.open(live.http + "/web/mixer.js")
        audio = '{ codec: "pcm_s16le", rate: 48000 }'
        await imported(page, SPEAK % (url, audio, FIRST))
        await page.until("said.numbers.length > 10")
        relay.is_down = True
        relay.cut()
        await page.until("states.length > 0")
        for session in list(live.runtime.sessions):
            session.close(1012, "gone")
        relay.is_down = False
        result: Any = await imported(page, FINISH)
        assert result["problems"] == ["session_lost"]
        again: Any = await imported(
            page,
            """
            const next = await live.open({ lead_ms: 0 });
            next.send("Once more.");
            next.end();
            const over = await next.over;
            live.close();
            return over.played;
            """,
        )
        assert again > 10_000
