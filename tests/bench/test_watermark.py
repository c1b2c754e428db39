"""The bench of the watermark, on speech-like waves."""

from __future__ import annotations

import numpy as np
import pytest

from bench.recording_attacks import ATTACKS
from bench.watermark import KEY, Recording, cost, describe, false_alarms, parts, snrs, survival
from engine.audio.watermark import Watermark
from engine.types import Language
from tests.speechlike import speechlike

RATE_HZ = 24000


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Six seconds."""
    plain = speechlike(6.0, RATE_HZ)
    marked = Watermark(KEY, RATE_HZ).start().process(plain)
    return Recording(Language.EN, (), plain, marked, RATE_HZ)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_leave_a_recording(name: str, recording: Recording) -> None:
    """Float32, finite, of about its length, and not what it was."""
    samples, rate_hz = ATTACKS[name](recording.plain, RATE_HZ)
    assert samples.dtype == np.float32 and np.isfinite(samples).all()
    assert abs(len(samples) / rate_hz - 6.0) < 0.13
    if name != "none":
        assert rate_hz != RATE_HZ or not np.array_equal(samples, recording.plain)


def test_parts_do_not_overlap() -> None:
    """They start off the beat and are whole."""
    found = list(parts(np.arange(24000 * 6, dtype=np.float32), RATE_HZ, 1.0))
    assert [round(float(part[0])) for part in found] == [7608 + 24000 * n for n in range(5)]
    assert {len(part) for part in found} == {24000}


def test_rows_say_what_was_found(recording: Recording) -> None:
    """Marked parts are, others are not; a length that no recording has makes no row."""
    rows = list(survival([recording], "none"))
    assert [(row.part_s, row.num_parts, row.found, row.alarms) for row in rows] == [
        (3.0, 1, 1, 0),
        (5.0, 1, 1, 0),
    ]
    assert describe(rows[1]).startswith("none                    5 s  found 1 of 1, without")


def test_other_keys_find_nothing(recording: Recording) -> None:
    """And their scores keep to the bounds."""
    found = false_alarms([recording], 30)
    assert (found["trials"], found["alarms"]) == (30, 0)
    assert found["score_max"] < found["threshold"]
    assert all(row["share"] <= 2 * row["bound"] for row in found["looser"])


def test_cost_and_distance(recording: Recording) -> None:
    """Far below one core, and as far below the speech as it says."""
    assert 0 < cost([recording])["mark_per_s"]["median"] < 0.1
    assert 26 < snrs([recording])["median"] < 32
