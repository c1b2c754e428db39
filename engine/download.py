"""Fetches one large file: goes on where it stopped, and keeps nothing whose sha256 is wrong.

Standard library only: an installation that never downloads carries no client for it. Proxies are
taken from the usual variables (HTTPS_PROXY).
"""

from __future__ import annotations

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from engine.errors import DownloadError
from engine.manifest import hash_file

PIECE_BYTES = 1 << 20
_CONNECT_S = 15  # also between two pieces
_USER_AGENT = "sovits-live"
DISK_FULL = "disk_full"  # code of the DownloadError that no other hub can help

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a cut connection is made again without one more byte coming."""

    times: int = 5
    pause_s: float = 1.0  # doubled each time


class _Cut(Exception):
    """The connection ended before the file did; what came is kept."""


class _Unreachable(_Cut):
    """Not even a connection came about."""


def fetch(
    url: str,
    target: Path,
    sha256: str,
    *,
    most_bytes: int = sys.maxsize,
    on_bytes: OnBytes = lambda done, total: None,
    retries: Retries | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Have `target` hold the file of that sum; do nothing if it does already.

    What has come lies in `NAME.part` beside the target, and the next call goes on behind it.

    Args:
        sha256: 64 hexadecimal digits.
        most_bytes: More cannot be that file: a wrong answer must not fill the disk.
        on_bytes: Told bytes there and bytes in all, after every piece; the last 0 if not known.

    Raises:
        DownloadError: Nothing can be had, or what came is not the file; says what to do.
    """
    if target.is_file() and hash_file(target) == sha256:
        return
    retries = retries or Retries()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures, has_come = 0, False
    while True:
        before = _size(part)
        try:
            _receive(url, part, most_bytes, on_bytes)
            break
        except _Cut as error:
            has_grown = _size(part) > before
            has_come |= has_grown
            if isinstance(error, _Unreachable) and not has_come:
                raise _unreachable(url, error) from None
            failures = 0 if has_grown else failures + 1
            if failures > retries.times:
                raise DownloadError(
                    f"{url}: {error}, {failures} times in a row; what came is kept, run the same "
                    "command again or choose another --source"
                ) from None
            sleep(retries.pause_s * 2 ** max(failures - 1, 0))
    _accept(url, part, target, sha256)


def _accept(url: str, part: Path, target: Path, sha256: str) -> None:
    """Give the file its name, or delete it if it is another one."""
    found = hash_file(part)
    if found != sha256:
        part.unlink()
        raise DownloadError(
            f"{url}: what came has sha256 {found[:12]}..., the official file {sha256[:12]}...; it "
            "was deleted. Choose another --source; if all agree, the list in this version is out "
            "of date"
        )
    part.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, most_bytes: int, on_bytes: OnBytes) -> None:
    """Append to `part` what is missing; return when the file is whole.

    Raises:
        _Cut: The connection broke.
        DownloadError: Trying again would not help.
    """
    there = _size(part)
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_CONNECT_S) as answer:
            there = there if answer.status == 206 else 0
            _append(answer, part, there, most_bytes, on_bytes)
    except urllib.error.HTTPError as error:
        with error:
            _check_status(url, error.code, part)
    except urllib.error.URLError as error:
        raise _Unreachable(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"the connection broke ({error or type(error).__name__})") from None


def _append(
    answer: http.client.HTTPResponse, part: Path, there: int, most_bytes: int, on_bytes: OnBytes
) -> None:
    length = answer.headers.get("Content-Length")
    total = there + int(length) if length else 0
    done = there
    with _opened(part, "ab" if there else "wb") as file:
        while piece := answer.read(PIECE_BYTES):
            done += len(piece)
            if max(done, total) > most_bytes:
                part.unlink()
                raise DownloadError(
                    f"{answer.url}: what comes has more than {most_bytes / 1e6:.0f} MB and is not "
                    "the official file; it was deleted. Choose another --source"
                )
            _write(file, piece)
            on_bytes(done, total)
    # A short body is no error to http.client when it is read in pieces.
    if done < total:
        raise _Cut(f"the connection ended after {done} of {total} bytes")


def _opened(part: Path, mode: Literal["ab", "wb"]) -> FileIO:
    try:
        return part.open(mode, buffering=0)
    except OSError as error:
        raise DownloadError(f"{part} cannot be written: {error.strerror}") from None


def _write(file: FileIO, piece: bytes) -> None:
    """Write all of a piece; unbuffered, so that a full disk shows here and not on closing."""
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise DownloadError(
            f"{file.name}: {error.strerror}; free some space and run the same command again, it "
            "goes on from here",
            code=DISK_FULL,
        ) from None


def _check_status(url: str, status: int, part: Path) -> None:
    """Take an error status: 416 is the end of a file that was whole already."""
    if status == 416 and part.exists():
        return
    if status in (408, 425, 429) or status >= 500:
        raise _Cut(f"the server answered {status}")
    raise DownloadError(f"{url}: the server answered {status}; choose another --source")


def _unreachable(url: str, reason: object) -> DownloadError:
    return DownloadError(
        f"{url} cannot be reached ({reason}); is there a network, does HTTPS_PROXY have to be set? "
        "A mirror is chosen with --source; files fetched elsewhere are taken in by "
        "sovits-live model import"
    )
