"""Where packs and voices lie unless a command or the server's configuration says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import CheckpointError
from engine.hub import VERSIONS

BUNDLED = Path(__file__).parent / "bundled"
DEFAULT = "nano"  # the pack that speaks when none is chosen
DATA_ENV = "SOVITS_DATA"  # folder of packs and voices; the server reads the same one


@dataclass(frozen=True, slots=True)
class Paths:
    """The two folders that hold what users bring."""

    packs_dir: Path
    voices_dir: Path
    bundled_dir: Path  # packs that came with the installation

    def pack(self, name: str) -> Path:
        """Return the folder of a pack, given by name or as a folder of its own.

        A user's pack hides a bundled one of the same name.
        """
        given = Path(name).expanduser()
        for folder in (given, self.packs_dir / name, self.bundled_dir / name):
            if (folder / "pack.json").is_file():
                return folder
        return self.packs_dir / name

    def chosen_pack(self, name: str | None) -> Path:
        """Return the folder of the pack named; by default `nano`, or the only one there is.

        Raises:
            CheckpointError: There is none of that name; names those there are.
        """
        there = self.pack_names()
        only = there[0] if len(there) == 1 else DEFAULT
        folder = self.pack(name or (DEFAULT if DEFAULT in there else only))
        if (folder / "pack.json").is_file():
            return folder
        listing = ", ".join(there) or "none; make one with: sovits-live model import --help"
        wanted = f"there is no pack {name!r}" if name else "several packs, choose with --pack"
        if name in VERSIONS:
            raise CheckpointError(f"{wanted}; fetch it with: sovits-live model pull {name}")
        raise CheckpointError(
            f"{wanted if there else 'no pack is installed'}; there are: {listing}"
        )

    def pack_names(self) -> list[str]:
        """Return the names of all packs, sorted; bundled ones too."""
        folders = (self.packs_dir, self.bundled_dir)
        return sorted({path.parent.name for f in folders for path in f.glob("*/pack.json")})


def resolve_paths(
    packs_dir: Path | None = None,
    voices_dir: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Paths:
    """Return the folders given, else those under $SOVITS_DATA, else in the user's data folder."""
    env = os.environ if environment is None else environment
    if DATA_ENV in env:
        data = Path(env[DATA_ENV])
    else:
        data = Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sovits-live"
    return Paths(
        packs_dir=(packs_dir or data / "packs").expanduser(),
        voices_dir=(voices_dir or data / "voices").expanduser(),
        bundled_dir=BUNDLED,
    )
