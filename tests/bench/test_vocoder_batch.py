from __future__ import annotations

from pathlib import Path

from bench.vocoder_batch import GRAPHS, SESSIONS, measure
from tests.micro_pack import micro_pack


def test_a_batch_says_what_its_rows_say_alone(tmp_path: Path) -> None:
    """Both graphs of a pack as it is exported today, context and all, take several sessions."""
    rows = measure(micro_pack(tmp_path), frame_counts=(8,), threads=1, repeats=1)
    assert [(row.graph, row.sessions) for row in rows] == [(g, n) for g in GRAPHS for n in SESSIONS]
    assert all(row.max_difference < 1e-5 and row.serial_s > 0 for row in rows)
