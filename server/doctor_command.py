"""Report what works here and how to get the rest.

Exit status: 0 if `sovits-live serve` can start as configured, 1 if not.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engine.errors import SovitsError
from engine.types import Language
from server import config as configuration
from server import libopus
from server.config import Config
from server.errors import ConfigError
from server.runtime import installed_version

_MIN_PYTHON = (3, 11)
# What each extra adds, and the import that shows that it is there.
_EXTRAS = {
    "torch": ("torch", "the reference backend, import of official checkpoints"),
    "zh-g2pw": ("opencc", "Chinese polyphones by g2pW"),
}


class Status(Enum):
    """How a check ended."""

    OK = "ok"
    MISSING = "--"  # serve works without it
    BROKEN = "!!"  # serve does not


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `fix` says what to do where something is not there."""

    status: Status
    what: str
    detail: str
    fix: str = ""


Check = Callable[[Config], Iterator[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--config", type=Path, help="TOML file, as given to serve")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any configuration key"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; return the exit status."""
    try:
        config = configuration.load(args.config, settings=args.set)
    except ConfigError as error:
        print(_line(Finding(Status.BROKEN, "configuration", str(error))))
        return 1
    findings = list(examine(config))
    for finding in findings:
        print(_line(finding))
    is_broken = any(finding.status is Status.BROKEN for finding in findings)
    print("\nsovits-live serve cannot start: see !! above" if is_broken else "\nready to serve")
    return int(is_broken)


def _line(finding: Finding) -> str:
    line = f"{finding.status.value}  {finding.what:<14}{finding.detail}"
    return f"{line}\n{'':18}-> {finding.fix}" if finding.fix else line


def examine(config: Config) -> Iterator[Finding]:
    """Yield everything that was found, serve's needs first."""
    checks: tuple[Check, ...] = (
        _python,
        _opus,
        _backends,
        _packs,
        _voices,
        _languages,
        _port,
        _extras,
    )
    for check in checks:
        yield from check(config)


def _python(config: Config) -> Iterator[Finding]:
    version = sys.version_info[:2]
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if version >= _MIN_PYTHON:
        yield Finding(Status.OK, "sovits-live", installed_version())
        yield Finding(Status.OK, "python", detail)
    else:
        yield Finding(Status.BROKEN, "python", detail, "install Python 3.11 or newer")


def _opus(config: Config) -> Iterator[Finding]:
    try:
        yield Finding(Status.OK, "libopus", libopus.library_path())
    except SovitsError as error:
        yield Finding(Status.BROKEN, "libopus", str(error))


def _backends(config: Config) -> Iterator[Finding]:
    from engine.backends.registry import BACKENDS, check_available

    chosen = config.engine.backend
    if chosen == "fake":
        yield Finding(Status.OK, "backend", "fake: tones, for tests (chosen)")
    elif chosen not in BACKENDS:
        valid = ", ".join(sorted(BACKENDS))
        yield Finding(Status.BROKEN, "backend", f"engine.backend is {chosen!r}, valid: {valid}")
    for name, entry in BACKENDS.items():
        try:
            check_available(name)
        except SovitsError as error:
            status = Status.BROKEN if name == chosen else Status.MISSING
            yield Finding(status, "backend", f"{name}: {error}", entry.install)
        else:
            mark = " (chosen)" if name == chosen else ""
            yield Finding(Status.OK, "backend", f"{name}{mark}{_runtime(name)}")


def _runtime(name: str) -> str:
    """Return what a runtime says of itself."""
    module = importlib.import_module(name)
    version = str(getattr(module, "__version__", ""))
    providers = getattr(module, "get_available_providers", None)
    return f" {version}" + (f", {', '.join(providers())}" if providers else "")


def _packs(config: Config) -> Iterator[Finding]:
    from engine.pack import load_pack

    if config.engine.backend == "fake":
        return
    try:
        folder = configuration.paths(config.engine).chosen_pack(config.engine.pack or None)
        pack = load_pack(folder)
    except SovitsError as error:
        yield Finding(Status.BROKEN, "pack", str(error))
        return
    languages = ", ".join(pack.languages)
    notice = f"; {pack.notice}" if pack.notice else ""
    detail = f"{pack.name}: {pack.family}, {languages}, {pack.num_bytes / 2**20:.0f} MiB{notice}"
    yield Finding(Status.OK, "pack", f"{detail} ({folder})")


def _voices(config: Config) -> Iterator[Finding]:
    from engine.voices import VoiceStore

    folder = configuration.paths(config.engine).voices_dir
    listing = VoiceStore(folder).listing()
    names = ", ".join(listing.records)
    if names:
        yield Finding(Status.OK, "voices", f"{names} ({folder})")
    else:
        fix = 'sovits-live voice add NAME reference.wav --text "what it says"'
        yield Finding(Status.MISSING, "voices", f"none in {folder}; the pack's own remain", fix)
    for name, error in listing.problems.items():
        yield Finding(Status.MISSING, "voices", f"{name}: {error}")


def _languages(config: Config) -> Iterator[Finding]:
    from engine.text.frontend import supported_languages

    there = supported_languages()
    yield Finding(Status.OK, "languages", ", ".join(there))
    for language in Language:
        if language not in (*there, Language.AUTO):
            yield Finding(Status.MISSING, "languages", f"{language}: not in this version")


def _port(config: Config) -> Iterator[Finding]:
    host, port = config.server.host, config.server.port
    if port == 0:
        yield Finding(Status.OK, "port", "any free one")
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            fix = "stop what uses it, or choose another: --set server.port=N"
            yield Finding(Status.BROKEN, "port", f"{host}:{port}: {error.strerror}", fix)
        else:
            yield Finding(Status.OK, "port", f"{host}:{port} is free")


def _extras(config: Config) -> Iterator[Finding]:
    for name, (module, purpose) in _EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(Status.OK, "extra", f"{name}: {purpose}")
        else:
            fix = f"pip install 'sovits-live[{name}]'"
            yield Finding(Status.MISSING, "extra", f"{name}: {purpose}", fix)
