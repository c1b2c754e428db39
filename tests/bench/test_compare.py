"""Results are compared when they are alike, refused when not, and shown on one page."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench import compare, plots, report
from bench.latency import level_of
from bench.load import Load
from tests.bench.test_load import outcome


def result(scale: float = 1.0) -> dict[str, Any]:
    """Return a result as it is read back from its file."""
    level = level_of({"clients": 1}, outcome(Load(requests=12, warmups=0), 0.1 * scale), 0.01)
    environment = {"cpu": "x", "cores": 2, "platform": "y", "date": "d", "git": "g", "packages": {}}
    data = {
        "environment": environment,
        "bench": "latency",
        "target": {"kind": "native"},
        "setup": {"corpus_sha256": "a", "seed": 1},
        "levels": [level],
    }
    loaded: dict[str, Any] = json.loads(json.dumps(data))
    return loaded


def written(path: Path, data: dict[str, Any]) -> Path:
    """Write a result."""
    path.write_text(json.dumps(data))
    return path


def run(a: Path, b: Path, *across: str) -> int:
    """Run the command."""
    return compare.run(argparse.Namespace(a=a, b=b, across=list(across)))


def test_ratios_are_b_over_a(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice as slow is 2."""
    a, b = (written(tmp_path / f"{s}.json", result(s)) for s in (1.0, 2.0))
    assert run(a, b) == 0
    line = next(row for row in capsys.readouterr().out.splitlines() if "first_byte" in row)
    assert "p50  2.000" in line and "chance" not in line


def test_what_speaks_against_a_result_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of the two was disturbed, and what failed; nothing of one that was not."""
    first, second = result(), result()
    second["levels"][0]["others_share"] = 0.4
    second["levels"][0]["summary"]["errors"] = ["cut off"]
    a, b = written(tmp_path / "a.json", first), written(tmp_path / "b.json", second)
    assert run(a, b) == 0
    told = capsys.readouterr().out.splitlines()[-2:]
    assert told[0].startswith("B was not quiet, others used 40 %")
    assert told[1].startswith("B has 1 utterances that failed")
    assert run(a, a) == 0
    assert not any(
        line.startswith(("A was", "B was")) for line in capsys.readouterr().out.split("\n")
    )


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("setup", "corpus_sha256", "b"),
        ("setup", "seed", 2),
        ("environment", "cpu", "z"),
        ("environment", "cores", 4),
    ],
)
def test_runs_that_were_not_alike_are_refused(
    where: str, name: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The difference is named; it may be excused by name."""
    first = result()
    second = copy.deepcopy(first)
    second[where][name] = value
    a, b = written(tmp_path / "a.json", first), written(tmp_path / "b.json", second)
    assert run(a, b) == 2
    assert f"{name}: " in capsys.readouterr().out
    assert run(a, b, name) == 0
    assert f"across different {name}" in capsys.readouterr().out


def test_other_levels_are_never_excused(tmp_path: Path) -> None:
    """There is nothing to put beside them."""
    first, second = result(), result()
    second["levels"][0]["load"] = {"clients": 2}
    a, b = written(tmp_path / "a.json", first), written(tmp_path / "b.json", second)
    assert run(a, b, "levels") == 2


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    """No file, no JSON, no environment."""
    good = written(tmp_path / "good.json", result())
    for bad in (tmp_path / "none", written(tmp_path / "b.json", {"a": 1})):
        assert run(good, bad) == 2


def test_chance_is_told_from_a_difference() -> None:
    """Two samples of one distribution are not clear, a shifted one is."""
    dice = np.random.default_rng(1)
    a, b = dice.normal(1, 0.2, 40).tolist(), dice.normal(1, 0.2, 40).tolist()
    same, other = compare.ratio(a, b), compare.ratio(a, [2 * value for value in b])
    assert same is not None and not same.is_clear
    assert other is not None and other.is_clear and other.n == (40, 40)
    assert compare.ratio([], b) is None


def test_the_page_needs_nothing_else_and_hides_nothing(tmp_path: Path) -> None:
    """No address in it, every figure in it, text is text."""
    first = result()
    first["target"]["voice"] = "<script>"
    first["levels"][0]["summary"]["errors"] = ["cut off", "cut off"]
    files = [
        written(tmp_path / "lat.json", first),
        written(tmp_path / "other.json", {"environment": {}, "rows": [{"x": 1.5}, {"x": 2.5}]}),
    ]
    out = tmp_path / "report.html"
    assert report.run(argparse.Namespace(results=files, out=out)) == 0
    html = out.read_text()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "src=" not in html and "href=" not in html
    assert "<td>2</td><td>cut off</td>" in html
    assert "first_audible" in html and "<td>2.5</td>" in html and "<svg" in html


def test_engines_side_by_side_are_shown_with_what_did_not_run() -> None:
    """Bars for what was measured, ratios, and the reason for the rest."""
    data = {
        "environment": {},
        "bench": "rivals",
        "engines": {"ours": {"first_audio_s": 0.9, "rtf": 0.5}, "theirs": {"first_audio_s": 1.8}},
        "ratios": {"theirs": {"first_audio": 0.5, "rtf": None}},
        "not_run": {"absent": "not installed"},
    }
    html = report.section("rivals-cpu", data)
    assert html.count("<svg") == 2 and "0.500" in html
    assert "absent" in html and "not installed" in html


@pytest.mark.parametrize(
    "svg",
    [
        plots.lines({"p50": [(1, 0.1), (2, 0.4)], "<b>": [(1, 3000.0)]}, "load", "ms"),
        plots.shares({"a": [1.0, 2.0, 2.0], "none": []}, "ms"),
        plots.bars({"ours": 0.3, "theirs": 1.2}, "s"),
    ],
)
def test_plots_are_well_formed_and_inside_their_frame(svg: str) -> None:
    """XML, and no coordinate outside."""
    root = ElementTree.fromstring(svg)
    for node in root.iter():
        for key, size in (("x", 640), ("cx", 640), ("y", 280), ("cy", 280)):
            assert 0 <= float(node.get(key, 0)) <= size
