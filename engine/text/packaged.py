"""The text data that comes with this package, see data/NOTICE.md."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> bytes:
    """Return the file data/NAME."""
    return files("engine.text").joinpath("data", name).read_bytes()


def lines(name: str) -> list[str]:
    """Return the lines of the UTF-8 file data/NAME, without comments and empty ones."""
    rows = read(name).decode("utf-8").splitlines()
    return [row for row in rows if row and not row.startswith("#")]
