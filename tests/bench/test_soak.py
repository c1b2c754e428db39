"""The soak's own checks bite, and the soak itself passes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from bench import soak
from bench.soak import Expectation, Listener, Sample, Tally, drift, growth
from engine.types import FloatArray


@pytest.fixture(scope="module")
def expectation() -> Expectation:
    return Expectation()


def heard(expectation: Expectation, *parts: tuple[str, str, int]) -> FloatArray:
    """Return the audio of (text, voice, pause in samples), one after another, through int16."""
    pieces = [
        np.concatenate([expectation.speech(text, voice), np.zeros(pause, np.float32)])
        for text, voice, pause in parts
    ]
    whole = np.concatenate(pieces)
    return (np.round(whole * 32767) / 32768).astype(np.float32)


def check(expectation: Expectation, audio: FloatArray, voice: str, *texts: str) -> list[str]:
    """Return what the soak finds wrong, each text being a segment where the last one ended."""
    tally = Tally()
    starts, at = [], 0
    for text in texts:
        starts.append((text, at * 3 // 2))
        at += len(expectation.speech(text, voice)) + 3200
    Listener("ws://nowhere", 0, tally, expectation)._check(audio, voice, starts)
    return tally.wrong


def test_the_right_audio_passes(expectation: Expectation) -> None:
    """Two sentences with their pauses, and any beginning of them."""
    audio = heard(expectation, ("Hello there.", "fake", 3200), ("Good bye.", "fake", 3200))
    assert check(expectation, audio, "fake", "Hello there.", "Good bye.") == []
    assert check(expectation, audio[:30000], "fake", "Hello there.", "Good bye.") == []


def test_another_voice_is_heard(expectation: Expectation) -> None:
    """The same words in another voice are wrong."""
    audio = heard(expectation, ("Hello there.", "fake-1", 3200))
    assert check(expectation, audio, "fake", "Hello there.") != []


def test_a_lost_a_repeated_and_a_swapped_packet_are_heard(expectation: Expectation) -> None:
    """Each of 640 samples."""
    audio = heard(expectation, ("Hello there.", "fake", 3200))
    packets = audio[: len(audio) // 640 * 640].reshape(-1, 640)
    lost = np.delete(packets, 7, axis=0)
    repeated = np.insert(packets, 7, packets[6], axis=0)
    swapped = packets.copy()
    swapped[[6, 9]] = swapped[[9, 6]]
    for wrong in (lost, repeated, swapped):
        assert check(expectation, wrong.reshape(-1), "fake", "Hello there.") != []


def test_drift_compares_the_end_with_the_settled_beginning() -> None:
    """Growth during the first tenth of the time is start-up, not drift."""

    def sample(at_s: float, rss_mb: float) -> Sample:
        return Sample(at_s, rss_mb, 1, 1, 1, 0)

    flat = [sample(0, 50), *(sample(60.0 * n, 100) for n in range(1, 10))]
    assert drift(flat, 9) == 0
    growing = [sample(60.0 * n, 100 + n) for n in range(10)]
    assert drift(growing, 10) > 0.04


def test_what_must_be_flat_is_named_when_it_grew() -> None:
    """Threads, descriptors and tasks that pile up, not the last sample, taken when all is over."""

    def samples(**rates: float) -> list[Sample]:
        start = {"rss_mb": 100.0, "threads": 18.0, "fds": 58.0, "tasks": 60.0}
        counters = [
            {name: value + rates.get(name, 0.0) * at for name, value in start.items()}
            for at in range(10)
        ]
        busy = [Sample(60.0 * at, contexts=8, **c) for at, c in enumerate(counters)]  # type: ignore[arg-type]
        return [*busy, Sample(602.0, 100.0, 5, 5, 5, 0)]

    assert growth(samples(), 10) == []
    assert growth(samples(threads=0.5), 10) == ["threads from 19.25 to 22.25"]
    assert growth(samples(fds=1, tasks=2), 10) != growth(samples(fds=1), 10) != []
    assert growth(samples(rss_mb=1), 10)[0].startswith("memory by +")


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_half_an_hour_of_sessions() -> None:
    """8 sessions, a fifth cancelled, a twentieth cut off: nothing wrong, nothing grows."""
    tally, samples, status = asyncio.run(
        soak.soak(minutes=30, sessions=8, cancels=0.2, cuts=0.05, port=8976)
    )
    assert tally.wrong == [] and status == 0
    assert growth(samples, 30) == []
    assert samples[-1].contexts == 0
    assert tally.done > 1000
