"""Fitting lines into their places, the folder that remembers them, and where they end up."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from clients.dubbing import (
    MIN_GAP_S,
    DubFolder,
    FitLimits,
    Line,
    fitted,
    line_key,
    placed,
    trimmed,
)
from clients.loudness import RATE_HZ, loudness_lufs
from clients.subtitles import Cue


class Speaker:
    """Speaks for a time that is not quite in proportion to the inverse of the speed."""

    def __init__(self, usual_s: float) -> None:
        self.usual_s = usual_s
        self.speeds: list[float] = []

    async def __call__(self, text: str, speed: float) -> np.ndarray:
        self.speeds.append(speed)
        length = self.usual_s / speed**0.9
        return np.full(round(length * RATE_HZ), 0.1, np.float32)


@pytest.mark.parametrize(
    ("usual_s", "place_s", "low", "high"),
    [
        (2.0, 2.1, 1.0, 1.0),  # fits as it is
        (2.0, 2.3, 1.0, 1.0),  # nearly fills: not worth a slower take
        (2.5, 2.0, 1.24, 1.32),
        (2.0, 2.5, 0.8, 0.9),
        (2.0, 9.0, 0.8, 0.8),  # as slow as is allowed
        (9.0, 2.0, 1.4, 1.4),  # as fast as is allowed
    ],
)
async def test_speed_is_fitted_within_limits(
    usual_s: float, place_s: float, low: float, high: float
) -> None:
    """The take fills its place, or its speed is at a limit; three takes at most."""
    speaker = Speaker(usual_s)
    samples, speed = await fitted(speaker, "text", place_s, FitLimits())
    assert low <= speed <= high
    assert len(speaker.speeds) <= 3 and speaker.speeds[0] == 1.0
    if 0.8 < speed < 1.4:
        assert 0.85 <= len(samples) / RATE_HZ / place_s <= 1.02
    assert len(samples) == len(await speaker("text", speed))  # the samples are of that speed


async def test_without_a_place_a_line_is_spoken_once() -> None:
    """At the usual speed."""
    speaker = Speaker(2.0)
    assert (await fitted(speaker, "text", None, FitLimits(usual=1.1)))[1] == 1.1
    assert speaker.speeds == [1.1]


def test_limits_must_be_in_order() -> None:
    """And what the server takes."""
    with pytest.raises(ValueError, match="slowest, usual, fastest"):
        FitLimits(usual=1.5)
    with pytest.raises(ValueError, match="0.5 to 2"):
        FitLimits(slowest=0.4)


def test_silence_around_a_line_is_cut() -> None:
    """Down to 40 ms on each side."""
    loud = np.full(4800, 0.3, np.float32)
    padded = np.concatenate([np.zeros(9600, np.float32), loud, np.zeros(24000, np.float32)])
    assert len(trimmed(padded)) == len(loud) + 2 * 1920
    assert len(trimmed(np.zeros(4800, np.float32))) == 0


def tone(duration_s: float) -> np.ndarray:
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.05 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


def test_a_folder_knows_what_it_has(tmp_path: Path) -> None:
    """A line is done if it was made from the same and its file is whole."""
    cue, key = Cue(1, "Hello."), line_key("Hello.", 2.0, {"voice": "a"})
    line = DubFolder(tmp_path).add(cue, key, tone(1.0), 1.2, -18.0)
    again = DubFolder(tmp_path)
    assert again.done(1, key) == line and line.speed == 1.2 and line.duration_s == 1.0
    assert again.done(1, line_key("Hello!", 2.0, {"voice": "a"})) is None
    assert again.done(1, line_key("Hello.", 2.5, {"voice": "a"})) is None
    assert again.done(1, line_key("Hello.", 2.0, {"voice": "b"})) is None
    with wave.open(str(tmp_path / "0001.wav")) as file:
        data = np.frombuffer(file.readframes(RATE_HZ), "<i2") / 32767
    assert loudness_lufs(data.astype(np.float32)) == pytest.approx(-18, abs=0.1)
    (tmp_path / "0001.wav").write_bytes(b"RIFF")
    assert again.done(1, key) is None


def test_a_folder_that_is_no_dub_is_refused(tmp_path: Path) -> None:
    """By the name of the file to delete."""
    (tmp_path / "dub.json").write_text("[]")
    with pytest.raises(ValueError, match=r"dub\.json"):
        DubFolder(tmp_path)


def test_lines_keep_their_time_unless_the_one_before_is_too_long() -> None:
    """Then they follow it closely; a line without sound keeps its cue."""
    cues = [Cue(1, "a", 1.0, 2.0), Cue(2, "b", 2.1, 3.0), Cue(3, "♪", 3.0, 4.0), Cue(4, "d", 5, 6)]
    lengths = [1.5, 0.5, 0.0, 0.8]
    lines = [Line(i + 1, "k", "f", 1.0, s, -16.0) for i, s in enumerate(lengths)]
    times = [(cue.start_s, cue.end_s) for cue in placed(cues, lines, gap_s=0.3)]
    late = 2.5 + MIN_GAP_S
    assert times == [(1.0, 2.5), (late, late + 0.5), (3.0, 4.0), (5, 5.8)]


def test_lines_without_times_follow_each_other() -> None:
    """With the gap asked for."""
    lines = [Line(1, "k", "f", 1.0, 1.0, -16.0), Line(2, "k", "f", 1.0, 2.0, -16.0)]
    times = placed([Cue(1, "a"), Cue(2, "b")], lines, gap_s=0.5)
    assert [(cue.start_s, cue.end_s) for cue in times] == [(0.0, 1.0), (1.5, 3.5)]


def test_a_track_has_every_line_at_its_time(tmp_path: Path) -> None:
    """To the sample."""
    folder = DubFolder(tmp_path)
    cues = [Cue(1, "a", 0.5, 1.0), Cue(2, "b", 2.0, 3.0)]
    lines = [folder.add(cue, "k", tone(0.25), 1.0, -16.0) for cue in cues]
    folder.write_track(tmp_path / "track.wav", placed(cues, lines, gap_s=0.3), lines)
    with wave.open(str(tmp_path / "track.wav")) as file:
        data = np.frombuffer(file.readframes(10 * RATE_HZ), "<i2")
    loud = np.flatnonzero(data)
    assert len(data) == round(2.25 * RATE_HZ)
    assert abs(loud[0] - 0.5 * RATE_HZ) <= 1
    gap = np.flatnonzero(np.diff(loud) > RATE_HZ)
    assert abs(loud[gap[0]] - 0.75 * RATE_HZ) <= 2 and abs(loud[gap[0] + 1] - 2 * RATE_HZ) <= 1
