"""What stands beside each figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.environment import environment, git_state


def test_uncommitted_code_is_told_and_results_are_not_code(tmp_path: Path) -> None:
    """A commit's name alone would say that the figures are that commit's."""

    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    assert git_state(tmp_path) == "unknown"
    code, result = tmp_path / "code.py", tmp_path / "bench" / "results" / "a.json"
    result.parent.mkdir(parents=True)
    for file in (code, result):
        file.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    sha = git_state(tmp_path)
    assert len(sha) >= 7 and not sha.endswith("+")
    result.write_text("2")
    assert git_state(tmp_path) == sha
    code.write_text("2")
    assert git_state(tmp_path) == f"{sha}+"


def test_the_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a figure depends on it; where things lie on it is nobody's business."""
    monkeypatch.setattr(sys, "argv", ["x", "bench", "cpu", "/home/me/packs/nano", "out/a.json"])
    found = environment()
    assert found["cores"] >= 1 and found["memory_gb"] > 0.1
    assert (
        "numpy" in found["packages"] and found["command"] == "sovits-live bench cpu nano out/a.json"
    )
