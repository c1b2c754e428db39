"""What tests share: golden arrays, an installation without a pack, how Hypothesis searches."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, and no limit of time that a busy one would miss.
settings.register_profile(
    "ours",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ours")

_DEFAULT = Path(__file__).parents[2] / "shared" / "fixtures"


def pytest_collection_finish() -> None:
    """Take modules and tests out of every later garbage collection: they are there to the end."""
    gc.collect()
    gc.freeze()


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
