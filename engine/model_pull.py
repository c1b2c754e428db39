"""Fetches a version's official weights from a hub and makes a pack of them.

Files come into the downloads folder one after another, are checked and imported; then they are
deleted, unless they shall stay for the next version (HuBERT, BERT and the speaker network are the
same in all).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.download import DISK_FULL, fetch
from engine.errors import CheckpointError, DownloadError
from engine.hub import LICENCES, HubFile, Role, Source
from engine.importer import ImportRequest, ImportResult, import_official
from engine.pack import MANIFEST

_MOST_TIMES = 2  # the length the list gives; a mirror may have another file of the same name
_SPARE_BYTES = 200_000_000  # for the system, and for a manifest and a vocabulary


class Report(Protocol):
    """What is told while a version comes."""

    def starts(self, file: HubFile, number: int, of: int) -> None:
        """Hear that a file is next."""

    def bytes_came(self, file: HubFile, done: int, total: int) -> None:
        """Hear how much of it is there; `total` is 0 if the server did not say."""

    def hub_failed(self, source: Source, error: DownloadError) -> None:
        """Hear that the next hub is asked."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to fetch, and as what.

    Attributes:
        name: Of the pack.
        out: The pack's folder.
        downloads: Where files lie until they are imported.
        sources: Hubs to ask, in order; the next one is asked where one fails.
        keep: Leave the files in `downloads` afterwards.
        replace: Replace a pack of that name.
    """

    name: str
    files: tuple[HubFile, ...]
    out: Path
    downloads: Path
    sources: Sequence[Source]
    keep: bool = False
    replace: bool = False

    @property
    def missing_bytes(self) -> int:
        """What has still to come, by the list's sizes."""
        return sum(max(0, file.num_bytes - _there(self, file)) for file in self.files)

    @property
    def pack_bytes(self) -> int:
        """What the pack takes at most: weights keep their type, some stay behind."""
        return sum(file.num_bytes for file in self.files)


def pull(request: PullRequest, report: Report) -> ImportResult:
    """Fetch, check and import; files that are there already are not fetched again.

    Raises:
        CheckpointError: The pack exists, or the files do not make one.
        DownloadError: No hub has a file, or there is no room.
    """
    check_name(request)
    check_room(request)
    source_index = 0
    for number, file in enumerate(request.files, 1):
        report.starts(file, number, len(request.files))
        source_index = _fetch_from_any(request, file, source_index, report)
    result = import_official(_as_import(request))
    if not request.keep:
        for file in request.files:
            (request.downloads / file.path).unlink()
        _remove_empty(request.downloads)
    return result


def check_name(request: PullRequest) -> None:
    """Check before anything is fetched that the pack can be written.

    Raises:
        CheckpointError: There is a pack of that name.
    """
    if (request.out / MANIFEST).is_file() and not request.replace:
        raise CheckpointError(
            f"{request.out} exists; take it as it is, fetch it under another --name, or anew with "
            "--replace"
        )


def check_room(request: PullRequest) -> None:
    """Check that downloads and pack fit on their disks.

    Raises:
        DownloadError: They do not; says how much is missing and where.
    """
    if _same_disk(request.downloads, request.out):
        _check_disk(request.out, request.missing_bytes + request.pack_bytes)
    else:
        _check_disk(request.downloads, request.missing_bytes)
        _check_disk(request.out, request.pack_bytes)


def _check_disk(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(_existing(folder)).free
    if free < wanted + _SPARE_BYTES:
        raise DownloadError(
            f"{_existing(folder)}: {wanted / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are "
            "free; free some space, or choose another disk with --packs-dir",
            code=DISK_FULL,
        )


def _same_disk(one: Path, other: Path) -> bool:
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _there(request: PullRequest, file: HubFile) -> int:
    target = request.downloads / file.path
    for path in (target, target.with_name(f"{target.name}.part")):
        if path.is_file():
            return path.stat().st_size
    return 0


def _fetch_from_any(request: PullRequest, file: HubFile, first: int, report: Report) -> int:
    """Fetch from the first hub that can; return which it was, so that it is asked first next."""
    target = request.downloads / file.path
    for index in range(first, len(request.sources)):
        source = request.sources[index]
        try:
            fetch(
                source.url(file.path),
                target,
                file.sha256,
                most_bytes=_MOST_TIMES * file.num_bytes,
                on_bytes=_teller(report, file),
            )
        except DownloadError as error:
            if error.code == DISK_FULL or index + 1 == len(request.sources):
                raise
            report.hub_failed(source, error)
        else:
            return index
    raise AssertionError("the last hub raises or returns")


def _teller(report: Report, file: HubFile) -> Callable[[int, int], None]:
    return lambda done, total: report.bytes_came(file, done, total)


def _as_import(request: PullRequest) -> ImportRequest:
    paths = {file.role: request.downloads / file.path for file in request.files}
    return ImportRequest(
        name=request.name,
        out=request.out,
        gpt=paths[Role.GPT],
        sovits=paths[Role.SOVITS],
        hubert=paths[Role.HUBERT].parent,
        bert=paths[Role.BERT].parent,
        speaker=paths.get(Role.SPEAKER),
        licences=LICENCES,
        replace=request.replace,
    )


def _remove_empty(folder: Path) -> None:
    """Remove the folders that importing left empty."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()
