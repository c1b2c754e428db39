"""The whole path on real stages: text over a socket, tiny networks, Opus out."""

from __future__ import annotations

import argparse
import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch
from aiohttp import web

from clients import say
from clients.events import AudioPacket, ContextCancelled, ContextDone, SegmentStarted
from clients.stream_client import StreamClient
from engine.audio.io import Recording
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.enroll import Enroller, Prompt
from engine.pack import Pack
from engine.text.frontend import Frontend
from engine.text.pool import FrontendPool
from engine.thread_engine import ThreadEngine
from engine.types import AudioChunk, Language, SentenceJob, Voice
from engine.voices import VoiceStore
from server.app import create_app
from server.config import load
from server.runtime import Parts, Runtime
from tests.speechlike import speechlike
from tests.tiny_packs import tiny_pack

TEXT = "你好，欢迎来到直播间。今天 iPhone 15 只要 4999.9 元！"


@pytest.fixture(scope="module")
def pack(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A tiny v2Pro pack with a voice made from a recording."""
    torch.set_num_threads(1)
    pack = tiny_pack(fixtures_dir, tmp_path_factory.mktemp("stream"), "v2Pro")
    backend = create_backend("torch", pack, EngineConfig(backend="torch", num_slots=1))
    enroller = Enroller(backend.reference, Frontend(pack.symbol_set), pack.config)
    prompt = Prompt(Recording(speechlike(3.0, 32000), 32000), "欢迎来到直播间。", Language.ZH)
    style = enroller.enroll(prompt).style
    VoiceStore(pack.path / "voices").save(
        Voice("anna", pack.fingerprint, {"default": style}), pack.name
    )
    return pack


class CountingEngine(ThreadEngine):
    """The real engine, which also adds up what it was asked for and what it gave."""

    num_tokens = 0
    pause_ms = 0
    num_trimmed = 0

    @asynccontextmanager
    async def synthesize(self, job: SentenceJob) -> AsyncIterator[AsyncIterator[AudioChunk]]:
        """Pass a job on."""
        self.pause_ms += job.pause_ms
        async with super().synthesize(job) as chunks:
            yield self._counted(chunks)

    async def _counted(self, chunks: AsyncIterator[AudioChunk]) -> AsyncIterator[AudioChunk]:
        async for chunk in chunks:
            self.num_tokens += chunk.num_tokens
            self.num_trimmed += chunk.num_trimmed
            yield chunk


@asynccontextmanager
async def serving(pack: Pack) -> AsyncIterator[tuple[str, CountingEngine]]:
    """Run the server with its real parts; yield the socket's address and the engine."""
    engine = CountingEngine(EngineConfig(backend="torch", pack=pack.path, num_slots=4))
    config = load(settings=[], environment={})
    languages = (Language.ZH, Language.EN)
    parts = Parts(engine, lambda info: FrontendPool(info.symbol_set), languages)
    runtime = Runtime(config, parts)
    runner = web.AppRunner(create_app(runtime), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        await runtime.wait_started()
        yield url, engine
    finally:
        await runner.cleanup()


@pytest.mark.parity
async def test_packets_leave_while_tokens_are_being_made(pack: Pack) -> None:
    """The first frame arrives when the sentence has fewer tokens than it will have in the end."""
    async with serving(pack) as (url, engine), StreamClient(url) as client:
        assert client.ready.notice == "random weights, no speech"
        before = (await engine.stats()).tokens
        context = await client.open(voice="anna", lang="auto", lead_ms=60000)
        for delta in ("你好，", "欢迎来到直播间，", "今天天气真的很好。"):
            await context.send_text(delta)
        await context.end()
        made_at_first_packet = 0
        async for event in context:
            if isinstance(event, AudioPacket) and not made_at_first_packet:
                made_at_first_packet = (await engine.stats()).tokens - before
            if isinstance(event, ContextDone):
                made = (await engine.stats()).tokens - before
                samples48 = event.total_samples48
        assert 0 < made_at_first_packet < made
        assert samples48 > 0


@pytest.mark.slow
@pytest.mark.parity
async def test_the_decoded_length_is_the_tokens_and_the_pauses(pack: Pack, tmp_path: Path) -> None:
    """`say` writes exactly 40 ms a token less the silence left out, and the announced pauses."""
    target = tmp_path / "a.wav"
    async with serving(pack) as (url, engine):
        arguments = [TEXT, "--voice", "anna", "--url", url, "--out", str(target)]
        assert await asyncio.to_thread(run_say, arguments) == 0
    with wave.open(str(target)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 24000)
        num_samples = file.getnframes()
    assert engine.num_tokens > 100
    made_ms = engine.num_tokens * 40 + engine.pause_ms
    assert num_samples == made_ms * 24 - engine.num_trimmed * 24000 // engine.info.sample_rate_hz


@pytest.mark.slow
@pytest.mark.parity
async def test_cancel_ends_the_context_and_frees_the_slot(pack: Pack) -> None:
    """After `context.cancelled` no frame comes, and the engine holds no slot any more."""
    async with serving(pack) as (url, engine), StreamClient(url) as client:
        context = await client.open(voice="anna", lang="zh", lead_ms=60000)
        await context.send_text(
            "今天天气真的很好，我们一起去公园散步吧，顺便买一点水果和面包回家。" * 3
        )
        await context.end()
        kinds: list[type] = []
        async for event in context:
            kinds.append(type(event))
            if kinds.count(AudioPacket) == 3:
                await context.cancel()
        assert kinds[-1] is ContextCancelled
        for _ in range(200):
            if (await engine.stats()).slots_used == 0:
                break
            await asyncio.sleep(0.01)
        assert (await engine.stats()).slots_used == 0
        again = await client.open(voice="anna", lang="en")
        await again.send_text("Hello again.")
        await again.end()
        heard = [event async for event in again]
        assert isinstance(heard[-1], ContextDone)
        assert any(isinstance(event, SegmentStarted) for event in heard)


def run_say(arguments: list[str]) -> int:
    """Run `sovits-live say` with these arguments."""
    parser = argparse.ArgumentParser()
    say.add_arguments(parser)
    return say.run(parser.parse_args(arguments))
