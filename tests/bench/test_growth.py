"""Short and long first sentences in turns: the order, the ratio, and what is said about it."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import growth
from bench.load import Outcome
from bench.recording import Arrival, Recording
from bench.targets.base import Line
from bench.texts import load_corpus
from tests.bench.scripted import CONFIG, pcm, speech
from tests.virtual_time import run

SHORT, LONG = load_corpus("en-10"), load_corpus("en-same-64")
SOUND = pcm(speech(0.5))


@dataclass
class Server:
    """Speaks after 50 ms and a time for each character; the first ones a second more."""

    s_per_character: float
    cold: int = 0
    spoken: int = 0

    async def open(self) -> Server:
        """Open a session, which is the server."""
        return self

    async def close(self) -> None:
        """See Session."""

    async def speak(self, line: Line) -> Recording:
        """See Session."""
        clock = asyncio.get_running_loop().time
        recording, text = Recording(CONFIG.format), "".join(line.tokens)
        recording.texts.append((clock(), text))
        self.spoken += 1
        cold_s = 1.0 if self.spoken <= self.cold else 0.0
        await asyncio.sleep(0.05 + self.s_per_character * len(text) + cold_s)
        recording.arrivals.append(Arrival(clock(), 1, SOUND))
        recording.is_complete = True
        return recording


def arguments(*words: str) -> argparse.Namespace:
    """Return parsed options."""
    parser = argparse.ArgumentParser()
    growth.add_arguments(parser)
    return parser.parse_args(["--pairs=6", "--warmups=2", *words])


def outcome(server: Server, pairs: int = 6, warmups: int = 2) -> Outcome:
    """Measure on a virtual clock."""
    lines = growth.in_turns(SHORT, LONG, pairs + warmups)

    async def main() -> Outcome:
        clock = asyncio.get_running_loop().time
        return await growth.measure_pairs(server.open, lines, 2 * warmups, 1, clock)

    return run(main())


def test_short_and_long_take_turns_and_neither_is_always_first() -> None:
    """Short long, long short: the n-th of each opens alike."""
    texts = ["".join(line.tokens) for line in growth.in_turns(SHORT, LONG, 4)]
    assert [len(text) for text in texts] == [10, 64, 64, 10, 10, 64, 64, 10]
    found = outcome(Server(0.0), pairs=4, warmups=0)
    assert [run_.text for run_ in found.runs] == texts


def test_the_long_sentences_open_as_the_short_ones() -> None:
    """A packet waits for the silence before its first words, so those are the same."""
    for short, long in zip(SHORT.lines, LONG.lines, strict=True):
        assert long.startswith(short[:-1]) and len(long) == 64


@pytest.mark.parametrize(("ms_per_character", "holds"), [(0.0, True), (0.2, True), (1.0, False)])
def test_what_grows_with_the_text_is_told(ms_per_character: float, holds: bool) -> None:
    """50 ms and so many a character: 1 ms makes 114 of 60."""
    found = outcome(Server(ms_per_character / 1000, cold=4))
    result = growth.result_of(arguments(), (SHORT, LONG), found, 0.01)
    wanted = (50 + 64 * ms_per_character) / (50 + 10 * ms_per_character)
    frame = result["long_over_short"]["first_frame"]
    assert frame["p50"] == pytest.approx(wanted, rel=0.01)
    assert frame["n"] == (6, 6) and result["holds"] is holds
    assert [level["load"] for level in result["levels"]] == [
        {"corpus": "en-10"},
        {"corpus": "en-same-64"},
    ]


def test_the_command_writes_what_it_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures, page and status; audio that nobody heard holds nothing."""
    found = outcome(Server(0.001))

    async def measured(args: argparse.Namespace, lines: object) -> tuple[Outcome, float]:
        return found, 0.01

    monkeypatch.setattr(growth, "_outcome", measured)
    file, page = tmp_path / "growth.json", tmp_path / "growth.html"
    args = arguments("--url=http://server", f"--json={file}", f"--report={page}")
    assert growth.run(args) == 1
    assert "does not hold" in capsys.readouterr().out
    assert json.loads(file.read_text())["setup"]["long"] == "en-same-64"
    assert "corpus=en-same-64" in page.read_text()
    args.limit = 2.0
    assert growth.run(args) == 0
    found = found.of(())
    assert growth.run(args) == 1


def test_options_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is valid."""
    assert growth.run(arguments("--url=http://server", "--pairs=0")) == 1
    assert growth.run(arguments("--url=http://server", "--long=en-65")) == 1
    assert "en-64" in capsys.readouterr().err
