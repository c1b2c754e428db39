"""Commands and server look into the same folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.paths import resolve_paths
from server.config import data_dir


@pytest.mark.parametrize(
    "environment", [{}, {"XDG_DATA_HOME": "/x"}, {"SOVITS_DATA": "/data"}, {"XDG_DATA_HOME": ""}]
)
def test_defaults_are_those_of_the_server(environment: dict[str, str]) -> None:
    """A voice added by the command is found by the server."""
    paths = resolve_paths(environment=environment)
    assert paths.packs_dir == data_dir(environment) / "packs"
    assert paths.voices_dir == data_dir(environment) / "voices"


def test_given_folders_win() -> None:
    """Options are stronger than the environment."""
    paths = resolve_paths(Path("/p"), Path("/v"), {"SOVITS_DATA": "/data"})
    assert (paths.packs_dir, paths.voices_dir) == (Path("/p"), Path("/v"))


def test_pack_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    """A folder that holds a pack is taken as it is."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pack.json").write_text("{}")
    paths = resolve_paths(tmp_path / "packs", environment={})
    assert paths.pack("demo") == tmp_path / "packs" / "demo"
    assert paths.pack(str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"
