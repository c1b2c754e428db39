"""`sovits-live model pull`: what it prints, and the export that follows it."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from engine.errors import DownloadError
from engine.hub import AUTO, SOURCES, VERSIONS, HubFile, Source, sources_of
from engine.model_pull import PullRequest, pull
from engine.paths import Paths

_EXPORT_NEEDS = ("torch", "onnx", "onnxscript")


def add_pull_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `model pull`."""
    parser.add_argument("version", choices=VERSIONS, help=f"one of {', '.join(VERSIONS)}")
    parser.add_argument("--name", help="the pack's name (default: the version)")
    parser.add_argument(
        "--source",
        default=AUTO,
        help=f"{', '.join(SOURCES)}, or the address of a mirror's folder (default: each in turn)",
    )
    parser.add_argument("--downloads-dir", type=Path, help="where files lie until imported")
    parser.add_argument(
        "--keep-files", action="store_true", help="keep the files for the next version"
    )
    parser.add_argument("--replace", action="store_true", help="replace a pack of that name")
    parser.add_argument(
        "--no-export", action="store_true", help="write no ONNX graphs, even if this machine could"
    )


def run_pull(args: argparse.Namespace, paths: Paths) -> None:
    """Fetch, import and export a version, saying what it costs.

    Raises:
        SovitsError: See `engine.model_pull.pull`; an unknown source.
    """
    started = time.monotonic()
    name = args.name or args.version
    request = PullRequest(
        name=name,
        files=VERSIONS[args.version],
        out=paths.packs_dir / name,
        downloads=args.downloads_dir or paths.packs_dir.parent / "downloads",
        sources=sources_of(args.source),
        keep=args.keep_files,
        replace=args.replace,
    )
    print(
        f"{args.version}: {len(request.files)} files, {request.missing_bytes / 1e6:.0f} MB to "
        f"fetch, a pack of {request.pack_bytes / 1e6:.0f} MB in {request.out}",
        flush=True,
    )
    with ProgressReport(Console(stderr=True)) as report:
        result = pull(request, report)
    for warning in result.warnings:
        print(f"note: {warning}", file=sys.stderr)
    pack = result.pack
    seconds = time.monotonic() - started
    print(f"{pack.name}: {pack.family}, {pack.num_bytes / 1e6:.0f} MB, fetched and imported in "
          f"{seconds:.0f} s")  # fmt: skip
    if args.no_export or not _can_export():
        print(_next_steps(pack.name))
    elif _export(pack.path) == 0:
        print(f"serve it with: sovits-live serve --pack {pack.name}")


def _can_export() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in _EXPORT_NEEDS)


def _export(pack: Path) -> int:
    """Run `sovits-live export` in a process of its own, so that torch's memory goes with it."""
    command = [sys.executable, "-m", "server.cli", "export", str(pack)]
    return subprocess.run(command, check=False).returncode


def _next_steps(name: str) -> str:
    return (
        "to serve it without torch, write its ONNX graphs once (here, or on another machine):\n"
        f"  pip install 'sovits-live[export]' && sovits-live export {name}\n"
        f"  sovits-live serve --pack {name}\n"
        "or serve it with torch:\n"
        f"  pip install 'sovits-live[torch]' && sovits-live serve --pack {name} "
        "--set engine.backend=torch"
    )


class ProgressReport:
    """A bar on a terminal, a line per file elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def starts(self, file: HubFile, number: int, of: int) -> None:
        """See `Report`."""
        name = file.path.rpartition("/")[2]
        self._task = self._progress.add_task(f"{number}/{of} {name}", total=file.num_bytes)
        if not self._console.is_terminal:
            self._console.print(f"{number}/{of} {file.path}", highlight=False, soft_wrap=True)

    def bytes_came(self, file: HubFile, done: int, total: int) -> None:
        """See `Report`."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total or file.num_bytes)

    def hub_failed(self, source: Source, error: DownloadError) -> None:
        """See `Report`."""
        self._console.print(
            f"{source.name}: {error}; asking the next hub", highlight=False, soft_wrap=True
        )
