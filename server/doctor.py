"""Checks of the installation, one generator each: what is there, and how to get what is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.errors import SovitsError
from engine.types import Language
from server import libopus
from server.runtime import installed_version

if TYPE_CHECKING:
    from engine.pack import Pack

# What each extra adds, and the import that shows that it is there; backends and languages have
# lines of their own.
_EXTRAS = {
    "export": ("onnxscript", "writing the ONNX graphs of a pack"),
    "formats": ("av", "references in M4A, AAC, WebM and video files"),
    "zh-g2pw": ("opencc", "Chinese polyphones by g2pW, with text.g2pw_dir"),
    "train": ("matplotlib", "training and fine-tuning"),
}
# Backend -> what `sovits-live export --for` is told, where that is not the default.
_EXPORT_TARGETS = {"onnxruntime_cuda": "cuda", "tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt"}
_MEMINFO = Path("/proc/meminfo")
_MEMORY_FACTOR = 3  # weights, the runtime's copies and buffers, in sizes of the pack
_MEMORY_BASE_BYTES = 400 << 20  # processes, dictionaries
_CONNECT_S = 3.0


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


def check_python() -> Iterator[Finding]:
    """Yield our version and Python's; one that is too old does not come so far (`server.cli`)."""
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(Status.OK, "sovits-live", installed_version())
    yield Finding(Status.OK, "python", detail)


def check_opus() -> Iterator[Finding]:
    """Yield which libopus is used."""
    try:
        yield Finding(Status.OK, "libopus", libopus.library_path())
    except SovitsError as error:
        yield Finding(Status.BROKEN, "libopus", str(error))


def check_backends(chosen: str) -> Iterator[Finding]:
    """Yield every backend; the chosen one has to be there."""
    from engine.backends.registry import BACKENDS, check_available

    if chosen == "fake":
        yield Finding(Status.OK, "backend", "fake: tones, for tests (chosen)")
    elif chosen not in BACKENDS:
        valid = ", ".join(sorted(BACKENDS))
        yield Finding(Status.BROKEN, "backend", f"engine.backend is {chosen!r}, valid: {valid}")
    for name, entry in BACKENDS.items():
        if name != chosen:
            # Importing torch takes seconds; whether it works matters where it is chosen.
            if all(map(_is_installed, entry.packages)) and _has_distribution(entry.distribution):
                yield Finding(Status.OK, "backend", f"{name}: installed, not chosen")
            else:
                yield Finding(Status.MISSING, "backend", f"{name}: not installed", entry.install)
            continue
        try:
            check_available(name)
        except SovitsError as error:
            yield Finding(Status.BROKEN, "backend", f"{name}: {error}", entry.install)
        else:
            yield Finding(Status.OK, "backend", f"{name} (chosen){_runtime(entry.packages[0])}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is not there
        return False


def _has_distribution(name: str) -> bool:
    return not name or any(importlib.metadata.distributions(name=name))


def _runtime(name: str) -> str:
    """Return what a runtime says of itself."""
    module = importlib.import_module(name)
    version = str(getattr(module, "__version__", ""))
    providers = getattr(module, "get_available_providers", None)
    return f" {version}" + (f", {', '.join(providers())}" if providers else "")


def check_graphs(pack: Pack, backend: str) -> Iterator[Finding]:
    """Yield something only if the chosen backend reads graphs that the pack has not."""
    if backend == "torch":
        return
    target = _EXPORT_TARGETS.get(backend)
    if not pack.has_graphs:
        detail = f"{pack.name} has no ONNX graphs, which the {backend} backend reads"
    elif target and not (pack.graphs_dir / "step_in_place.onnx").is_file():
        detail = f"{pack.name} was exported for the CPU, not for the {backend} backend"
    else:
        return
    options = f" --for {target}" if target else ""
    fix = f"pip install 'sovits-live[export]' && sovits-live export {pack.name}{options}"
    yield Finding(Status.BROKEN, "pack", detail, fix)


def check_memory(pack_bytes: int, meminfo: Path = _MEMINFO) -> Iterator[Finding]:
    """Yield whether a pack of that size fits; nothing where the system does not say (not Linux)."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        available = int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return
    wanted = _MEMORY_FACTOR * pack_bytes + _MEMORY_BASE_BYTES
    detail = f"{available / 2**30:.1f} GiB free, the pack wants about {wanted / 2**30:.1f} GiB"
    if available >= wanted:
        yield Finding(Status.OK, "memory", detail)
    else:
        fix = "close other programs, choose a smaller pack, or --set engine.precision=int8"
        yield Finding(Status.MISSING, "memory", detail, fix)


def check_languages() -> Iterator[Finding]:
    """Yield what can be spoken, and what brings the others."""
    from engine.text.languages import how_to_install, supported_languages

    there = supported_languages()
    yield Finding(Status.OK, "languages", ", ".join(there))
    for language in Language:
        if language not in (*there, Language.AUTO):
            fix = how_to_install(language)
            yield Finding(Status.MISSING, "languages", f"{language} is not installed", fix)


def check_player(sound_devices: Path = Path("/proc/asound/cards")) -> Iterator[Finding]:
    """Yield what `--play` plays with, and whether there is anything to hear it from."""
    from clients.errors import Unplayable
    from clients.play import player_command

    page = "open the page in a browser"
    try:
        program = player_command(48000)[0]
    except Unplayable as error:
        yield Finding(Status.MISSING, "player", str(error), f"or {page}")
        return
    # The file is there where ALSA is, and says so when no card is.
    if sound_devices.is_file() and "no soundcards" in sound_devices.read_text():
        fix = f"write a file with --out, or {page}"
        yield Finding(Status.MISSING, "player", f"{program}, but no audio device", fix)
    else:
        yield Finding(Status.OK, "player", program)


def check_extras() -> Iterator[Finding]:
    """Yield every extra."""
    for name, (module, purpose) in _EXTRAS.items():
        if _is_installed(module):
            yield Finding(Status.OK, "extra", f"{name}: {purpose}")
        else:
            fix = f"pip install 'sovits-live[{name}]'"
            yield Finding(Status.MISSING, "extra", f"{name}: {purpose}", fix)


def untried_network() -> Iterator[Finding]:
    """Yield how to try the network; serving needs none."""
    detail = "not tried: only sovits-live model pull needs one"
    yield Finding(Status.MISSING, "network", detail, "sovits-live doctor --network")


def check_network() -> Iterator[Finding]:
    """Yield which hubs answer on their port."""
    from engine.hub import SOURCES

    hosts = {name: urlsplit(source.base_url).hostname or "" for name, source in SOURCES.items()}
    with ThreadPoolExecutor(len(hosts)) as pool:
        problems = dict(zip(hosts, pool.map(_unreachable, hosts.values()), strict=True))
    for name, problem in problems.items():
        if problem:
            fix = "set HTTPS_PROXY if there is a proxy, or choose another --source"
            yield Finding(Status.MISSING, "network", f"{name} ({hosts[name]}): {problem}", fix)
        else:
            yield Finding(Status.OK, "network", f"{name} ({hosts[name]})")


def _unreachable(host: str) -> str:
    """Return why a host cannot be reached; "" if it can."""
    try:
        with socket.create_connection((host, 443), timeout=_CONNECT_S):
            return ""
    except OSError as error:
        return str(error.strerror or error)
