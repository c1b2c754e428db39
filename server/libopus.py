"""Find libopus and load `opuslib` with it.

A system library is used when there is one. Else it is the one inside the wheel of
`opuslib-next-bundled`: 0.36 MiB, BSD-3-Clause, built for Linux (glibc; x86-64, aarch64), macOS and
Windows. PyAV carries one too, in a wheel of 34 MiB; sphn links it into 17 MiB; discord.py's is for
Windows only; PyOgg is a source package without one. Of the bundle only the library is used here:
the binding is `opuslib`.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

from engine.errors import BackendUnavailable

_HOW_TO_FIX = "pip install opuslib opuslib-next-bundled (or install the system's libopus)"
_BUNDLE = "opuslib_next"  # the import name of opuslib-next-bundled
_import_lock = threading.Lock()


@cache
def library_path() -> str:
    """Return the path or soname of the libopus to use, the system's first.

    Raises:
        BackendUnavailable: If there is none; says how to get one.
    """
    path = ctypes.util.find_library("opus") or _bundled_path()
    if path is None:
        raise BackendUnavailable(f"no libopus found: {_HOW_TO_FIX}")
    return path


def _bundled_path() -> str | None:
    """Return the library inside the bundle's package, which is found but not imported."""
    spec = importlib.util.find_spec(_BUNDLE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for pattern in ("*.so*", "*.dylib", "*.dll"):
            for path in sorted(Path(folder, "_native").glob(pattern)):
                return str(path)
    return None


@cache
def load() -> ModuleType:
    """Return `opuslib` with its `api` modules loaded and safe to use on every platform.

    Raises:
        BackendUnavailable: If the binding or the library is missing or unusable.
    """
    path = library_path()
    try:
        with _import_lock, _found_at(path):
            opuslib = importlib.import_module("opuslib")
            for name in ("ctl", "decoder", "encoder", "info"):
                importlib.import_module(f"opuslib.api.{name}")
    except ImportError as error:
        raise BackendUnavailable(f"opuslib cannot be imported ({error}): {_HOW_TO_FIX}") from error
    except OSError as error:
        raise BackendUnavailable(f"{path} cannot be loaded ({error}): {_HOW_TO_FIX}") from error
    _declare_variadic(opuslib)
    return opuslib


def describe() -> str:
    """Return the version and the place of the libopus in use.

    Raises:
        BackendUnavailable: As `load`.
    """
    version = load().api.info.get_version_string()
    text = version.decode() if isinstance(version, bytes) else str(version)
    return f"{text} ({library_path()})"


@contextmanager
def _found_at(path: str) -> Iterator[None]:
    """Make `find_library("opus")` answer `path`, for opuslib asks it once, at import."""
    original = ctypes.util.find_library

    def find_library(name: str) -> str | None:
        return path if name == "opus" else original(name)

    setattr(ctypes.util, "find_library", find_library)  # noqa: B010
    try:
        yield
    finally:
        setattr(ctypes.util, "find_library", original)  # noqa: B010


def _declare_variadic(opuslib: ModuleType) -> None:
    """Name the fixed arguments of the ctl functions, whose other arguments are variadic.

    Apple's arm64 passes variadic arguments differently; ctypes does so only if `argtypes` holds the
    fixed ones (Python docs, ctypes, "Calling variadic functions"). opuslib leaves them undeclared.
    """
    encoder, decoder = opuslib.api.encoder, opuslib.api.decoder
    encoder.libopus_ctl.argtypes = (encoder.EncoderPointer, ctypes.c_int)
    decoder.libopus_ctl.argtypes = (decoder.DecoderPointer, ctypes.c_int)
