"""One suite for every EngineClient, on the fake backend."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from engine.backends.fake import FakeScript
from engine.client import EngineClient
from engine.config import EngineConfig
from engine.errors import EngineFailed, InvalidParameter, TextError, VoiceError
from engine.process_engine import ProcessEngine
from engine.thread_engine import ThreadEngine
from engine.types import FloatArray, SentenceJob, StreamMode, SynthesisParams
from tests.engine.jobs import collect, fake_audio, make_job, speak

ENGINES: dict[str, Any] = {"thread": ThreadEngine, "process": ProcessEngine}
SCRIPT = FakeScript(step_s=0.0003, fail_at_phoneme={700: "scripted failure"})


@pytest.fixture(params=list(ENGINES))
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[EngineClient]:
    """A warm engine of each kind."""
    config = EngineConfig(backend="fake", fake=SCRIPT, num_slots=4, fake_voices=5)
    engine = ENGINES[request.param](config)
    await engine.start()
    yield engine
    await engine.close()


async def test_a_sentence_is_spoken_whole_and_in_order(engine: EngineClient) -> None:
    """The chunks, joined, are every token once, then the pause."""
    job = make_job(pause_ms=120)
    np.testing.assert_array_equal(await speak(engine, job), fake_audio(job))


async def test_audio_leaves_before_the_last_token_exists(engine: EngineClient) -> None:
    """The first chunk holds fewer tokens than the sentence has."""
    async with engine.synthesize(make_job()) as chunks:
        first = await anext(chunks)
        assert not first.is_final
        assert 0 < first.num_tokens < 36


async def test_sessions_side_by_side_sound_as_they_do_alone(engine: EngineClient) -> None:
    """16 sentences of 5 voices on 4 slots, random cancels: the others are bit-identical."""
    jobs = [
        make_job(
            *range(20, 24 + n), utterance=f"u{n}", voice="fake" if n % 5 == 0 else f"fake-{n % 5}"
        )
        for n in range(16)
    ]
    cancelled = set(random.Random(3).sample(range(16), 5))

    async def run(number: int) -> Any:
        if number not in cancelled:
            return await speak(engine, jobs[number])
        async with engine.synthesize(jobs[number]) as chunks:
            await anext(chunks)

    results = await asyncio.gather(*map(run, range(16)))
    for number, audio in enumerate(results):
        if number not in cancelled:
            np.testing.assert_array_equal(audio, fake_audio(jobs[number]))
    stats = await engine.stats()
    assert stats.slots_used == 0
    assert max(stats.steps_by_batch) > 1


@pytest.mark.parametrize("mode", StreamMode)
async def test_leading_silence_is_left_out_and_announced(mode: StreamMode) -> None:
    """Of 13 silent tokens 60 ms stay, all of them in exact mode; the first chunk says how many."""
    script = FakeScript(silent_tokens=13)
    engine = ThreadEngine(EngineConfig(backend="fake", fake=script))
    await engine.start()
    try:
        job = make_job(pause_ms=40, params=SynthesisParams(mode=mode))
        async with engine.synthesize(job) as stream:
            chunks = await collect(stream)
    finally:
        await engine.close()
    trimmed = 0 if mode is StreamMode.EXACT else 13 * 1280 - 60 * 32
    assert [chunk.num_trimmed for chunk in chunks] == [trimmed] + [0] * (len(chunks) - 1)
    heard = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(heard, fake_audio(job, script)[trimmed:])
    num_tokens = sum(chunk.num_tokens for chunk in chunks)
    assert num_tokens * 1280 - trimmed + 40 * 32 == len(heard)


async def test_cancel_frees_the_slot(engine: EngineClient) -> None:
    """A left synthesis holds no slot once the step in flight is over."""
    async with engine.synthesize(make_job(*range(200))) as chunks:
        await anext(chunks)
        assert (await engine.stats()).slots_used == 1
    stats = await engine.stats()
    for _ in range(100):  # at most one decode step later
        if stats.slots_used == 0:
            break
        await asyncio.sleep(0.002)
        stats = await engine.stats()
    assert (stats.slots_used, stats.jobs_cancelled) == (0, 1)


@pytest.mark.slow
async def test_a_thousand_random_cancels_leak_nothing(engine: EngineClient) -> None:
    """Slots, jobs and queues are all free after 1,000 sentences left at random moments."""
    dice = random.Random(7)

    async def one(number: int) -> None:
        job = make_job(*range(20, 26), utterance=f"u{number}")
        async with engine.synthesize(job) as chunks:
            for _ in range(dice.randrange(3)):
                if (await anext(chunks)).is_final:
                    break
        engine.forget(f"u{number}")

    for start in range(0, 1000, 50):
        await asyncio.gather(*(one(start + n) for n in range(50)))
    job = make_job()
    np.testing.assert_array_equal(await speak(engine, job), fake_audio(job))
    stats = await engine.stats()
    assert (stats.slots_used, stats.jobs_waiting) == (0, 0)


async def test_a_failing_row_fails_alone(engine: EngineClient) -> None:
    """An exception in one row of a batch ends that job; its neighbours speak on."""
    good = [make_job(*range(20, 30), utterance=f"u{n}") for n in range(3)]
    bad = make_job(700, *range(20, 30), utterance="bad")
    results = await asyncio.gather(
        *(speak(engine, job) for job in good), speak(engine, bad), return_exceptions=True
    )
    for job, audio in zip(good, results, strict=False):
        np.testing.assert_array_equal(audio, fake_audio(job))
    assert isinstance(results[3], EngineFailed)
    assert str(results[3]) == "scripted failure"
    assert results[3].retryable


async def test_unknown_voices_and_styles_are_refused(engine: EngineClient) -> None:
    """The error names what there is."""
    with pytest.raises(VoiceError, match="no voice 'nobody'; there are: fake, fake-1"):
        await speak(engine, make_job(voice="nobody"))
    with pytest.raises(VoiceError, match="has no style 'angry'; it has: default"):
        await speak(engine, make_job(style="angry"))


async def test_a_sentence_that_does_not_fit_is_refused(engine: EngineClient) -> None:
    """More phonemes than the cache holds is the caller's error, not a crash."""
    with pytest.raises(TextError, match="does not fit") as caught:
        await speak(engine, make_job(*[20] * 5000))
    assert caught.value.code == "text_too_long"


async def test_a_reader_without_credit_stops_only_itself(engine: EngineClient) -> None:
    """An utterance that reached its grant waits, others finish; a new grant resumes it."""
    stalled = make_job(*range(20, 60), utterance="stalled")
    engine.grant("stalled", 0.2)
    async with engine.synthesize(stalled) as chunks:
        first = await anext(chunks)
        other = make_job(utterance="other")
        np.testing.assert_array_equal(await speak(engine, other), fake_audio(other))
        tokens = (await engine.stats()).tokens
        audio = await speak(engine, make_job(utterance="third"))
        # Only the third sentence made tokens in between: its own, and the end of sentence.
        assert (await engine.stats()).tokens - tokens == len(audio) / 1280 + 1
        engine.grant("stalled", float("inf"))
        rest = await collect(chunks)
    audio = np.concatenate([first.samples, *(chunk.samples for chunk in rest)])
    np.testing.assert_array_equal(audio, fake_audio(stalled))


async def test_stalled_readers_on_every_slot_hold_nobody_up(engine: EngineClient) -> None:
    """With all four slots taken by them a fifth session speaks, and each of them can go on."""
    stalled = [make_job(*range(20, 60 + n), utterance=f"stalled{n}") for n in range(4)]

    async def stall(job: SentenceJob) -> FloatArray:
        async with engine.synthesize(job) as chunks:
            parts = [(await anext(chunks)).samples]
            all_stalled.release()
            await goes_on.wait()
            return np.concatenate([*parts, *(c.samples for c in await collect(chunks))])

    all_stalled, goes_on = asyncio.Semaphore(0), asyncio.Event()
    for job in stalled:
        engine.grant(job.utterance_id, 0.2)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(stall(job)) for job in stalled]
        for _ in readers:
            await all_stalled.acquire()
        other = make_job(utterance="other")
        np.testing.assert_array_equal(await speak(engine, other), fake_audio(other))
        # Tokens made for nobody yet are not audio: nothing came beyond the grants.
        most_s = sum(0.2 + 1.6 * 5 * 0.04 for _ in stalled)
        assert (await engine.stats()).audio_s <= most_s + len(fake_audio(other)) / 32000
        for job in stalled:
            engine.grant(job.utterance_id, float("inf"))
        goes_on.set()
    for job, reader in zip(stalled, readers, strict=True):
        np.testing.assert_array_equal(reader.result(), fake_audio(job))


async def test_short_sentences_do_not_spend_the_credit_of_the_one_before(
    engine: EngineClient,
) -> None:
    """A listener granted 0.9 s more than he has heard hears a long sentence to its end."""
    long = make_job(*range(20, 60), utterance="u")
    short = [make_job(*range(20, 24), utterance="u", index=n) for n in (1, 2)]
    engine.grant("u", 0.9)

    async def listen() -> FloatArray:
        parts: list[FloatArray] = []
        async with engine.synthesize(long) as chunks:
            async for chunk in chunks:
                parts.append(chunk.samples)
                engine.grant("u", sum(map(len, parts)) / 32000 + 0.9)
        engine.grant("u", float("inf"))
        return np.concatenate(parts)

    heard = await asyncio.gather(listen(), *(speak(engine, job) for job in short))
    for job, audio in zip((long, *short), heard, strict=True):
        np.testing.assert_array_equal(audio, fake_audio(job))


async def test_a_killed_engine_process_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every open job fails retryably, and the next one works without anybody's help."""
    came_back = asyncio.Event()
    config = EngineConfig(backend="fake", fake=FakeScript(step_s=0.002))
    engine = ProcessEngine(config, on_restart=came_back.set)
    await engine.start()
    try:
        job = make_job(*range(300))
        async with engine.synthesize(job) as chunks:
            await anext(chunks)
            first_pid = engine.pid
            assert first_pid is not None
            os.kill(first_pid, signal.SIGKILL)
            with pytest.raises(EngineFailed, match="died.*out of memory.*restarted") as caught:
                await collect(chunks)
        assert caught.value.retryable
        with pytest.raises(EngineFailed, match="not ready") as caught:
            await speak(engine, make_job())
        assert caught.value.code == "warming_up"
        await asyncio.wait_for(came_back.wait(), 30)
        assert engine.pid != first_pid
        job = make_job()
        np.testing.assert_array_equal(
            await speak(engine, job), fake_audio(job, FakeScript(step_s=0.002))
        )
        assert (await engine.stats()).restarts == 1
        threads = [thread.name for thread in threading.enumerate()]
        assert (threads.count("engine-reader"), threads.count("engine-writer")) == (1, 1)
    finally:
        await engine.close()


async def test_killed_again_while_it_comes_back_it_comes_back_again() -> None:
    """-9 when idle, and once more before the new process is warm: start is tried again."""
    came_back = asyncio.Event()
    engine = ProcessEngine(EngineConfig(backend="fake"), on_restart=came_back.set)
    await engine.start()
    try:
        pids = [engine.pid]
        for _ in range(2):
            assert pids[-1] is not None
            os.kill(pids[-1], signal.SIGKILL)
            for _ in range(6000):
                if engine.pid != pids[-1]:
                    break  # the next process exists, not ready yet
                await asyncio.sleep(0.01)
            pids.append(engine.pid)
            assert not engine.is_ready
            with pytest.raises(EngineFailed, match="not ready"):
                await engine.stats()
        await asyncio.wait_for(came_back.wait(), 60)
        job = make_job()
        np.testing.assert_array_equal(await speak(engine, job), fake_audio(job))
    finally:
        await engine.close()


async def test_killed_before_it_was_ever_ready_it_does_not_start() -> None:
    """-9 while it loads is an error of `start`, not a wait without end."""
    engine = ProcessEngine(EngineConfig(backend="fake"))
    starting = asyncio.create_task(engine.start())
    for _ in range(10_000):
        if engine.pid is not None:
            break
        await asyncio.sleep(0.001)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="was killed"):
        await starting
    assert not engine.is_ready
    await engine.close()


async def test_an_engine_is_not_ready_before_it_has_spoken() -> None:
    """A warm-up sentence that fails keeps it from starting, in its own words."""
    script = FakeScript(fail_at_phoneme={1: "cold"})  # of every voice's prompt
    for kind in ENGINES.values():
        engine = kind(EngineConfig(backend="fake", fake=script))
        with pytest.raises(EngineFailed, match="cold"):
            await engine.start()
        assert not engine.is_ready
        await engine.close()


async def test_an_engine_that_cannot_start_says_why() -> None:
    """The reason crosses the process border as the error it was."""
    for kind in ENGINES.values():
        engine = kind(EngineConfig(backend="onnxruntime", pack=None))
        with pytest.raises(InvalidParameter, match=r"engine\.pack is None"):
            await engine.start()
        await engine.close()
