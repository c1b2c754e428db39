"""The comparison goes on where it stopped and says what was not run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bench.rivals import command
from bench.rivals.engines import Engine, Place
from bench.rivals.measure import Plan
from engine.errors import BackendUnavailable, InvalidParameter
from tests.bench.rivals.test_summary import a_round


def arguments(work: Path, *words: str) -> argparse.Namespace:
    """Return parsed options."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["--work", str(work), *words])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Measure nothing: name who was measured; genie does not start, ours-auto was not alone."""
    names: list[str] = []

    def measure(engine: Engine, place: Place, plan: Plan) -> dict[str, Any]:
        names.append(engine.name)
        if engine.name == "genie-tts":
            raise BackendUnavailable("no dictionaries")
        figures = a_round(0.5 if engine.is_ours else 2.0)
        figures["levels"][0]["others_share"] = 0.5 if engine.name == "ours-auto" else 0.01
        return figures

    monkeypatch.setattr(command, "measure_round", measure)
    monkeypatch.setattr(command, "write_checkpoints", lambda folder, tokens: None)
    monkeypatch.setattr(command.Comparison, "prepare", lambda self, name: True)
    for name in ("cpufast", "genie"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
    return names


def test_rounds_take_turns_and_are_not_done_twice(measured: list[str], tmp_path: Path) -> None:
    """A B, B A; a second call does only what is missing; noise and failures do not count."""
    venvs = [f"--venv=gpt-sovits-cpufast={tmp_path / 'cpufast'}"]
    venvs += [f"--venv=genie-tts={tmp_path / 'genie'}", "--rounds=2"]
    out, page = tmp_path / "rivals.json", tmp_path / "rivals.html"
    args = arguments(tmp_path / "work", *venvs, f"--json={out}", f"--report={page}")
    assert command.run(args) == 0
    first = ["ours", "ours-auto", "gpt-sovits-cpufast", "genie-tts"]
    assert measured == [*first, "gpt-sovits-cpufast", "ours-auto", "ours"]
    result = json.loads(out.read_text())
    assert result["ratios"]["first_audio"] == {"gpt-sovits-cpufast": 0.25}
    assert result["engines"]["ours"]["rounds"] == 2 and "ours-auto" not in result["engines"]
    assert "quiet" in result["not_run"]["ours-auto"]
    assert "no dictionaries" in result["not_run"]["genie-tts"]
    assert "--venv upstream=PATH" in result["not_run"]["upstream"]
    assert len(result["measured"]["git"]) == 1  # one build
    assert result["all_quiet"] is True and "gpt-sovits-cpufast" in page.read_text()

    measured.clear()
    assert command.run(args) == 0
    assert measured == ["ours-auto", "genie-tts", "ours-auto"]


def test_out_of_time_begins_nothing(measured: list[str], tmp_path: Path) -> None:
    """What is missing is left to the next call."""
    assert command.run(arguments(tmp_path / "work", "--limit-s=0", "--rounds=3")) == 1
    assert len(measured) <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--venv=someone=."], "someone"),
        (["--venv=genie-tts"], "NAME=PATH"),
        (["--venv=genie-tts=/nowhere"], "folder that is there"),
        (["--only=someone"], "someone"),
    ],
)
def test_options_that_cannot_be_are_refused(words: list[str], reason: str, tmp_path: Path) -> None:
    """With what is valid."""
    with pytest.raises(InvalidParameter, match=reason):
        command.chosen(arguments(tmp_path, *words))


def test_a_folder_without_an_interpreter_is_no_environment(tmp_path: Path) -> None:
    """bin/python is looked for."""
    with pytest.raises(InvalidParameter, match="bin/python"):
        command.python_of(tmp_path)
