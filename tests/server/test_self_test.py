"""What `/readyz` asks of an engine that lives: to have spoken lately, or to speak now."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from engine.client import EngineStats
from engine.errors import EngineFailed, VoiceError
from engine.types import Priority, SentenceJob
from server import runtime, self_test
from tests.fakes import Script
from tests.server.live import Live, serve

LONG_AGO_S = -1e9


async def readyz(live: Live) -> tuple[int, str]:
    """Return status and word of the answer."""
    async with aiohttp.ClientSession() as http, http.get(f"{live.http}/readyz") as response:
        return response.status, (await response.json())["status"]


async def test_what_was_spoken_lately_needs_no_test() -> None:
    """The warm-up counts, and so does every listener's sentence."""
    async with serve() as live:
        assert await readyz(live) == (200, "ready")
        assert not live.engine.jobs
        live.engine.spoken_s = LONG_AGO_S
        async with live.session() as client:
            await client.send("text", ctx="a", text="One.", end=True)
            await client.next("context.done")
        assert await readyz(live) == (200, "ready")
        assert len(live.engine.jobs) == 1


async def test_a_silent_engine_is_asked_to_speak_once_for_all_who_ask() -> None:
    """A sentence behind every listener's, and then the engine has spoken lately."""
    async with serve(script=Script(step_s=0.02)) as live:
        live.engine.spoken_s = LONG_AGO_S
        answers = await asyncio.gather(*(readyz(live) for _ in range(5)))
        assert set(answers) == {(200, "ready")}
        (job,) = live.engine.jobs
        assert job.priority is Priority.BATCH
        assert live.engine.forgotten == [job.utterance_id]
        assert await readyz(live) == (200, "ready")
        assert len(live.engine.jobs) == 1


async def test_a_dear_test_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times its length pass before the next one, but not more than a minute."""
    monkeypatch.setattr(self_test, "_FRESH_S", 0.0)
    async with serve(script=Script(step_s=0.05)) as live:
        live.engine.spoken_s = LONG_AGO_S
        await readyz(live)
        await readyz(live)
        assert len(live.engine.jobs) == 1
        monkeypatch.setattr(self_test, "_STALE_S", 0.0)
        await readyz(live)
        assert len(live.engine.jobs) == 2


async def test_an_engine_that_answers_but_does_not_speak_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hung lane: its counters still come. What is told is no pass for the next who asks."""
    monkeypatch.setattr(self_test, "_LIMIT_S", 0.05)
    async with serve(script=Script(hang_text="好。")) as live:
        live.engine.spoken_s = LONG_AGO_S
        for _ in range(2):
            assert await readyz(live) == (503, "engine_down")
        assert len(live.engine.jobs) == 2 and not live.engine.active
        live.engine.script.hang_text = ""
        assert await readyz(live) == (200, "ready")


async def test_a_failure_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an error of the server."""

    def broken(job: object) -> Any:
        raise EngineFailed("the engine broke")

    async with serve() as live:
        live.engine.spoken_s = LONG_AGO_S
        monkeypatch.setattr(live.engine, "synthesize", broken)
        assert await readyz(live) == (503, "engine_down")


@pytest.mark.parametrize(
    ("damaged", "answer"),
    [({"anna"}, (200, "ready")), ({"anna", "bob"}, (503, "engine_down"))],
)
async def test_a_damaged_voice_is_not_a_dead_engine(
    damaged: set[str], answer: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one will do; without any that is whole nobody can be served."""
    async with serve() as live:
        synthesize = live.engine.synthesize

        def some(job: SentenceJob) -> Any:
            if job.voice_id in damaged:
                raise VoiceError(f"voice {job.voice_id} is damaged")
            return synthesize(job)

        monkeypatch.setattr(live.engine, "synthesize", some)
        live.engine.spoken_s = LONG_AGO_S
        assert await readyz(live) == answer


async def test_a_server_without_a_voice_has_nothing_to_speak_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is no fault of the engine: voices can be added while it runs."""
    async with serve() as live:
        live.engine.spoken_s = LONG_AGO_S
        monkeypatch.setattr(type(live.engine), "voices", {})
        assert await readyz(live) == (200, "ready")


async def test_a_test_that_runs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stops the server does not wait for it."""
    monkeypatch.setattr("server.app._SHUTDOWN_TIMEOUT_S", 0.1)  # for the route that asked for it
    began = asyncio.Event()
    async with serve(script=Script(hang_text="好。")) as live:
        synthesize = live.engine.synthesize

        def noted(job: SentenceJob) -> Any:
            began.set()
            return synthesize(job)

        monkeypatch.setattr(live.engine, "synthesize", noted)
        live.engine.spoken_s = LONG_AGO_S
        asked = asyncio.create_task(readyz(live))
        await began.wait()
        asked.cancel()
    assert not live.engine.active


async def test_capacity_is_not_concluded_from_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short sentence is dear by the second: listeners would be refused for it."""
    monkeypatch.setattr(runtime, "_ENGINE_TICK_S", 0.01)
    async with serve() as live:
        asked: asyncio.Queue[None] = asyncio.Queue()
        after = EngineStats(audio_s=100.0, busy_s=50.0, acoustic_busy_s=50.0)

        async def stats() -> EngineStats:
            asked.put_nowait(None)
            return after if live.engine.jobs else EngineStats()

        monkeypatch.setattr(live.engine, "stats", stats)
        await asked.get()
        live.engine.spoken_s = LONG_AGO_S
        await readyz(live)
        for _ in range(3):
            await asked.get()
        assert live.runtime.admission.capacity is None
