"""Where packs and voices are looked for, by commands and server alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import CheckpointError
from engine.paths import resolve_paths


@pytest.mark.parametrize(
    ("environment", "data"),
    [
        ({}, Path.home() / ".local" / "share" / "sovits-live"),
        ({"XDG_DATA_HOME": ""}, Path.home() / ".local" / "share" / "sovits-live"),
        ({"XDG_DATA_HOME": "/x"}, Path("/x/sovits-live")),
        ({"XDG_DATA_HOME": "/x", "SOVITS_DATA": "/data"}, Path("/data")),
    ],
)
def test_folders_lie_in_the_users_data(environment: dict[str, str], data: Path) -> None:
    """SOVITS_DATA first, then the desktop standard."""
    paths = resolve_paths(environment=environment)
    assert (paths.packs_dir, paths.voices_dir) == (data / "packs", data / "voices")


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


def test_pack_is_chosen_by_name_or_for_lack_of_another(tmp_path: Path) -> None:
    """One pack needs no name; of several, nano; else the error lists them."""
    paths = replace(resolve_paths(tmp_path, environment={}), bundled_dir=tmp_path / "bundled")
    with pytest.raises(CheckpointError, match="no pack is installed"):
        paths.chosen_pack(None)
    for name in ("alpha", "beta", "nano"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pack.json").write_text("{}")
        if name == "alpha":
            assert paths.chosen_pack(None) == tmp_path / "alpha"
        if name == "beta":
            with pytest.raises(CheckpointError, match="choose with --pack; there are: alpha, beta"):
                paths.chosen_pack(None)
    assert paths.chosen_pack(None) == tmp_path / "nano"
    assert paths.chosen_pack("beta") == tmp_path / "beta"
    with pytest.raises(CheckpointError, match="'v2Pro'; fetch it with: .*model pull v2Pro"):
        paths.chosen_pack("v2Pro")
    with pytest.raises(CheckpointError, match="there is no pack 'x'; there are: alpha, beta, nano"):
        paths.chosen_pack("x")


def test_the_bundled_pack_is_the_default_and_may_be_hidden(tmp_path: Path) -> None:
    """What came with the installation speaks until a pack is chosen; a user's namesake hides it."""
    paths = replace(
        resolve_paths(tmp_path / "packs", environment={}), bundled_dir=tmp_path / "bundled"
    )
    for folder in ("bundled/nano", "packs/mine"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pack.json").write_text("{}")
    assert paths.pack_names() == ["mine", "nano"]
    assert paths.chosen_pack(None) == tmp_path / "bundled" / "nano"
    assert paths.chosen_pack("mine") == tmp_path / "packs" / "mine"
    (tmp_path / "packs" / "nano").mkdir()
    (tmp_path / "packs" / "nano" / "pack.json").write_text("{}")
    assert paths.chosen_pack("nano") == tmp_path / "packs" / "nano"
