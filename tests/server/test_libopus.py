"""libopus is found without a system package, and its absence is explained."""

from __future__ import annotations

import ctypes.util
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import BackendUnavailable
from server import libopus


@pytest.fixture(autouse=True)
def fresh_search() -> Iterator[None]:
    libopus.library_path.cache_clear()
    libopus.load.cache_clear()
    yield
    libopus.library_path.cache_clear()
    libopus.load.cache_clear()


def test_system_library_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has one, it is used."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    assert libopus.library_path() == "libopus.so.0"


def test_library_from_pip_is_used_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle's file is found without importing the bundle."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    path = Path(libopus.library_path())
    assert path.is_file() and path.parent.name == "_native"


def test_fresh_process_loads_opuslib_and_leaves_no_trace() -> None:
    """opuslib imports, encodes, and `ctypes.util.find_library` is the original again."""
    code = (
        "import ctypes.util, sys; before = ctypes.util.find_library;"
        "from server import libopus; opuslib = libopus.load();"
        "assert ctypes.util.find_library is before;"
        "assert opuslib.Encoder(24000, 1, 2048).lookahead == 156;"
        "assert 'opuslib_next' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_no_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds the command."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="no libopus found: pip install opuslib"):
        libopus.load()


def test_no_binding_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing opuslib is not a traceback."""
    monkeypatch.setitem(sys.modules, "opuslib", None)
    with pytest.raises(BackendUnavailable, match="opuslib cannot be imported.*pip install"):
        libopus.load()


def test_unusable_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is no library is named in the error."""
    broken = tmp_path / "libopus.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: str(broken))
    for name in [name for name in sys.modules if name.split(".")[0] == "opuslib"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendUnavailable, match=r"libopus\.so cannot be loaded"):
        libopus.load()


def test_describe_names_version_and_place() -> None:
    """For `doctor`."""
    assert libopus.describe().startswith("libopus")
    assert libopus.library_path() in libopus.describe()
