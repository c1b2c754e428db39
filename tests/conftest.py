"""What tests share: where the golden arrays are, and an installation without a pack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).parents[2] / "shared" / "fixtures"


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Return the folder of golden arrays: SOVITS_FIXTURES, else ../shared/fixtures."""
    folder = Path(os.environ.get("SOVITS_FIXTURES", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no golden arrays in {folder}; set SOVITS_FIXTURES")
    return folder


@pytest.fixture(autouse=True)
def nothing_bundled(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Let tests bring their own packs; those of the bundled one name its folder."""
    monkeypatch.setattr("engine.paths.BUNDLED", tmp_path_factory.getbasetemp() / "no-bundle")
