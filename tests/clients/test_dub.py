"""`dub` against a running server."""

from __future__ import annotations

import argparse
import asyncio
import json
import wave
from pathlib import Path

import pytest

from clients import dub
from clients.subtitles import parse_srt
from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from tests.server.live import Live, serve

SRT = """1
00:00:00,500 --> 00:00:01,300
abcdefghijklmnopqrst.

2
00:00:02,000 --> 00:00:06,000
Hello there.

3
00:00:07,000 --> 00:00:08,000
♪
"""


def engine() -> ThreadEngine:
    return ThreadEngine(EngineConfig(backend="fake", fake=FakeScript(tokens_per_phoneme=2)))


async def run_dub(live: Live, script: Path, out: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    dub.add_arguments(parser)
    given = [str(script), "-o", str(out), "--url", live.http, "--voice", "fake", *arguments]
    return await asyncio.to_thread(dub.run, parser.parse_args(given))


def duration_s(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


async def test_subtitles_become_a_track_that_keeps_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long lines are spoken faster, short ones slower; run again nothing is spoken."""
    script, out = tmp_path / "scene.srt", tmp_path / "out"
    script.write_text(SRT)
    async with serve(engine=engine()) as live:  # type: ignore[arg-type]
        assert await run_dub(live, script, out, "--track") == 0
        assert "3 spoken now, 0 kept" in capsys.readouterr().err
        lines = json.loads((out / "dub.json").read_text())["lines"]
        assert await run_dub(live, script, out, "--track") == 0
        assert "0 spoken now, 3 kept" in capsys.readouterr().err
        script.write_text(SRT.replace("Hello there.", "Hello here, again."))
        assert await run_dub(live, script, out, "--track") == 0
        assert "1 spoken now, 2 kept" in capsys.readouterr().err
    speeds = [line["speed"] for line in lines]
    assert speeds[0] == 1.4 and speeds[1] == 0.8
    assert 0.8 < lines[0]["duration_s"] < 20 * 0.08  # of 80 ms a letter at the usual speed
    assert lines[2]["duration_s"] == 0
    cues = parse_srt((out / "scene.dubbed.srt").read_text())
    assert [cue.start_s for cue in cues] == [0.5, 2.0, 7.0]
    assert cues[0].end_s == pytest.approx(0.5 + lines[0]["duration_s"], abs=0.001)
    assert duration_s(out / "scene.wav") == pytest.approx(cues[1].end_s, abs=0.001)  # type: ignore[arg-type]


async def test_a_text_becomes_lines_one_after_the_other(tmp_path: Path) -> None:
    """With subtitles made from what was spoken."""
    script, out = tmp_path / "lines.txt", tmp_path / "out"
    script.write_text("Hello there.\n\nAnd again.\n")
    async with serve(engine=engine()) as live:  # type: ignore[arg-type]
        assert await run_dub(live, script, out, "--gap", "0.5") == 0
    first, second = parse_srt((out / "lines.dubbed.srt").read_text())
    assert first.end_s == pytest.approx(duration_s(out / "0001.wav"), abs=0.001)
    assert second.start_s == pytest.approx(first.end_s + 0.5, abs=0.002)  # type: ignore[operator]
    assert not (out / "lines.wav").exists()


async def test_a_line_the_server_refuses_is_named_and_the_rest_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1; the next run speaks only what failed."""
    script, out = tmp_path / "lines.txt", tmp_path / "out"
    script.write_text("Hello there.\n日本のカメラ。\n")
    async with serve(engine=engine()) as live:  # type: ignore[arg-type]
        assert await run_dub(live, script, out) == 1
        said = capsys.readouterr().err
        assert "line 2" in said and "sovits-live[ja]" in said
        script.write_text("Hello there.\nA camera.\n")
        assert await run_dub(live, script, out) == 0
        assert "1 spoken now, 1 kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "arguments", "said"),
    [
        ("a.vtt", "x", [], "no script"),
        ("a.txt", "\n", [], "no lines"),
        ("a.srt", "x", [], "line 1"),
        ("a.txt", "x", ["--jobs", "9"], "--jobs is 9"),
        ("a.txt", "x", ["--lufs", "3"], "--lufs is 3"),
        ("a.txt", "x", ["-o", "no/such.wav"], "--out is a folder, not no/such.wav; --track"),
        ("a.txt", "x", ["--max-speed", "3"], "0.5 to 2"),
    ],
)
async def test_bad_arguments_are_named(
    name: str,
    content: str,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is connected."""
    script = tmp_path / name
    script.write_text(content)
    parser = argparse.ArgumentParser()
    dub.add_arguments(parser)
    args = parser.parse_args([str(script), "-o", str(tmp_path / "out"), *arguments])
    assert await asyncio.to_thread(dub.run, args) == 2
    assert said in capsys.readouterr().err


async def test_no_server_is_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And said."""
    script = tmp_path / "a.txt"
    script.write_text("Hello.")
    parser = argparse.ArgumentParser()
    dub.add_arguments(parser)
    args = parser.parse_args([str(script), "-o", str(tmp_path), "--url", "ws://127.0.0.1:9"])
    assert await asyncio.to_thread(dub.run, args) == 3
    assert "no connection" in capsys.readouterr().err
