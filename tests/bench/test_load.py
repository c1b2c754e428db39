"""Who speaks when, and what a level comes to, on a virtual clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from bench.capacity import holds, largest
from bench.latency import level_of
from bench.load import Driver, Load, Outcome
from bench.recording import Arrival, Recording
from bench.statistics import Quantiles, summarise
from bench.targets.base import Line, Refused
from bench.texts import corpus_names, load_corpus, tokens_of
from engine.errors import InvalidParameter
from tests.bench.scripted import CONFIG, pcm, speech
from tests.virtual_time import run

SOUND = pcm(speech(0.5))
LINES = [Line((f"text {number}.",)) for number in range(4)]


@dataclass
class Slow:
    """A server that speaks one at a time: half a second of audio in `work_s`."""

    work_s: float
    lock: asyncio.Lock
    opened: int = 0

    async def open(self) -> Slow:
        """Open a session, which is the server."""
        self.opened += 1
        return self

    async def close(self) -> None:
        """See Session."""

    async def speak(self, line: Line) -> Recording:
        """See Session."""
        clock = asyncio.get_running_loop().time
        recording = Recording(CONFIG.format, late_s=line.late_s)
        recording.texts.append((clock(), "".join(line.tokens)))
        async with self.lock:
            await asyncio.sleep(self.work_s)
        recording.arrivals.append(Arrival(clock(), 1, SOUND))
        recording.is_complete = True
        return recording


@dataclass
class Broken:
    """A server that hangs up at its third utterance and then takes no connection any more.

    Attributes:
        audio: What it sends instead of sound; then it does not hang up.
    """

    audio: bytes = b""
    spoken: int = 0
    closed: int = 0

    async def open(self) -> Broken:
        """Open a session, which is the server."""
        if self.closed:
            raise Refused("closed for today")
        return self

    async def close(self) -> None:
        """See Session."""
        self.closed += 1

    async def speak(self, line: Line) -> Recording:
        """See Session."""
        clock = asyncio.get_running_loop().time
        self.spoken += 1
        recording = Recording(replace(CONFIG.format, codec="ogg" if self.audio else "pcm_s16le"))
        recording.texts.append((clock(), "".join(line.tokens)))
        await asyncio.sleep(0.01)
        if self.spoken > 2 and not self.audio:
            recording.error = "cut off"
        else:
            recording.arrivals.append(Arrival(clock(), 1, self.audio or SOUND))
        recording.is_complete = not recording.error
        return recording


def outcome(load: Load, work_s: float = 0.1) -> Outcome:
    """Run one level."""

    async def main() -> Outcome:
        server = Slow(work_s, asyncio.Lock())
        return await Driver(server.open, LINES, asyncio.get_running_loop().time).run(load)

    return run(main())


def test_a_closed_loop_keeps_so_many_at_work() -> None:
    """Four clients of a server that serves one at a time wait for four turns each."""
    found = outcome(Load(clients=4, requests=16, warmups=1))
    assert found.concurrent == 4
    assert found.wall_s == pytest.approx(1.6, abs=0.002)
    firsts = [run_.clocks.first_byte_s for run_ in found.runs[4:]]
    assert firsts == pytest.approx([0.4] * 12, abs=0.002)
    assert found.lag_p99_s == pytest.approx(0.0, abs=0.001)


def test_listeners_hear_their_answer_out() -> None:
    """Half a second of audio, from 100 ms on: 600 ms a turn."""
    found = outcome(Load(clients=1, requests=5, warmups=0, listens=True))
    begun = [run_.begun_s for run_ in found.runs]
    assert begun == pytest.approx([0.6 * i for i in range(5)], abs=0.002)


def test_every_text_is_spoken_equally_often_in_an_order_of_the_seed() -> None:
    """Twice the same with one seed, another order with another."""
    orders = [
        [run_.text for run_ in outcome(Load(requests=12, warmups=0, seed=seed)).runs]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert {orders[0].count(text) for text in orders[0]} == {3}


def test_an_open_loop_waits_for_nobody_and_hides_no_queue() -> None:
    """Arrivals at 20 a second of a server that does 10: it falls behind, and the clocks say so."""
    found = outcome(Load(clients=2, rate_per_s=20, requests=40, warmups=0))
    assert found.concurrent > 8
    times = [run_.begun_s for run_ in found.runs]
    assert times[-1] == pytest.approx(40 / 20, rel=0.4)  # arrivals keep their rate
    last = found.runs[-1].clocks.first_byte_s
    assert last is not None and last > 1.0


@pytest.mark.parametrize("rate_per_s", [0.0, 1.0])
def test_a_server_that_goes_away_fails_what_is_left_and_not_the_bench(rate_per_s: float) -> None:
    """Two are whole, one is cut off, and nobody is let in for the rest."""

    async def main() -> Outcome:
        load = Load(clients=1, rate_per_s=rate_per_s, requests=6, warmups=0)
        return await Driver(Broken().open, LINES, asyncio.get_running_loop().time).run(load)

    found = run(main())
    errors = [run_.clocks.error for run_ in found.runs]
    assert errors == ["", "", "cut off", *["closed for today"] * 3]
    summary = summarise(found)
    assert summary["first_byte_s"]["n"] == 2 and summary["n"] == 6
    assert summary["problems"]["error"] == 4


def test_audio_that_cannot_be_decoded_is_an_error_of_its_utterance() -> None:
    """A server that answers in another format than it was asked for."""

    async def main() -> Outcome:
        server, clock = Broken(b"x" * 100), asyncio.get_running_loop().time
        return await Driver(server.open, LINES, clock).run(Load(requests=1, warmups=0))

    assert ["OggS" in run_.clocks.error for run_ in run(main()).runs] == [True]


def test_lines_may_keep_their_order_and_be_told_apart_afterwards() -> None:
    """What comes in pairs is spoken in pairs; a part has its texts' runs alone."""

    async def main() -> Outcome:
        server, clock = Slow(0.1, asyncio.Lock()), asyncio.get_running_loop().time
        return await Driver(server.open, LINES, clock, in_order=True).run(Load(requests=8))

    found = run(main())
    assert [run_.text for run_ in found.runs] == [f"text {n % 4}." for n in range(8)]
    assert [run_.number for run_ in found.without(3).of(["text 0."]).runs] == [4]


def test_a_level_starts_when_it_has_warmed_up() -> None:
    """By the client's clock, so that what a server noted can be put beside it."""
    found = outcome(Load(requests=2, warmups=3))
    assert found.started_s == pytest.approx(1000.3, abs=0.01)


def test_a_summary_has_every_clock_with_its_n() -> None:
    """Numbers of a level that are known beforehand."""
    found = summarise(outcome(Load(clients=1, requests=8, warmups=0)))
    assert found["first_byte_s"]["n"] == 8 == found["n"]
    assert found["first_audible_s"]["p50"] == pytest.approx(0.1, abs=0.002)
    assert found["rtf"]["p50"] == pytest.approx(0.2, abs=0.01)
    assert found["audio_per_s"] == pytest.approx(5.0, rel=0.02)
    assert found["problems"] == {} and found["errors"] == []


def test_quantiles() -> None:
    """Of the numbers 0 to 100 they are themselves."""
    found = Quantiles.of([float(i) for i in range(101)])
    assert found == Quantiles(101, 0.0, 50.0, 95.0, 99.0, 100.0, 50.0)
    assert Quantiles.of([]) is None


@pytest.mark.parametrize(("truth", "most"), [(0, 8), (1, 8), (5, 8), (8, 8), (11, 12), (3, 64)])
async def test_the_capacity_is_the_largest_number_that_holds(truth: int, most: int) -> None:
    """Found by doubling and halving, nothing tried twice."""
    tried: list[int] = []

    async def holds_at(clients: int) -> bool:
        tried.append(clients)
        return clients <= truth

    assert await largest(holds_at, most) == min(truth, most)
    assert len(set(tried)) == len(tried)


def test_a_level_holds_only_in_time_and_whole() -> None:
    """100 ms is within 300 ms and not within 50; a late packet is too much."""
    level = level_of({"clients": 1}, outcome(Load(requests=4, warmups=0)), 0.0)
    assert holds(level, 0.3) and not holds(level, 0.05)
    level["summary"]["underruns"]["100"]["gaps"] = 1
    assert not holds(level, 0.3)


def test_the_corpora_are_as_long_as_they_say() -> None:
    """3, 10, 19 and 64 characters, to the character."""
    assert {
        "zh-3",
        "zh-10",
        "en-10",
        "zh-19",
        "zh-64",
        "en-64",
        "zh-digits",
        "mixed-code-switch",
    } <= set(corpus_names())
    for name in corpus_names():
        corpus = load_corpus(name)
        size = name.partition("-")[2]
        if size.isdigit():
            assert {len(text) for text in corpus.lines} == {int(size)}, name
        for text in corpus.lines:
            assert "".join(tokens_of(text)) == text
    with pytest.raises(InvalidParameter, match="zh-19"):
        load_corpus("zh-20")


def test_audio_shorter_than_usual_is_told() -> None:
    """Of one text spoken five times, once only half came."""
    load = Load(requests=20, warmups=0)
    found = outcome(load)
    assert "short_audio" not in summarise(found)["problems"]
    runs = list(found.runs)
    runs[3] = replace(runs[3], clocks=replace(runs[3].clocks, audio_s=0.25))
    changed = replace(found, runs=tuple(runs))
    assert summarise(changed)["problems"] == {"short_audio": 1}
