"""The Autobahn test suite itself against this server's sockets.

It exists for Python 2.7 only, so it is run where SOVITS_WSTEST names its `wstest` (a command line:
an interpreter may stand before it). `tests/server/test_websocket_conformance.py` has the same
groups for every environment. Compression (12 and 13) is excluded: it is never negotiated.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.server.live import serve
from tests.server.test_websocket_conformance import echo_server

pytestmark = [pytest.mark.compat, pytest.mark.timeout(900)]

FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
# Messages beyond the 2 MiB this server takes: it answers 1009, the suite wants them back.
TOO_LONG = ["9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*"]
NEEDS_ECHO = ["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "7.1.1"]


async def fuzz(folder: Path, url: str, cases: list[str], excluded: list[str]) -> dict[str, Any]:
    """Run the suite; the outcome of each case."""
    command = os.environ.get("SOVITS_WSTEST")
    if not command:
        pytest.skip("SOVITS_WSTEST names no wstest")
    spec = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": "ours", "url": url}],
        "cases": cases,
        "exclude-cases": excluded,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), "--mode", "fuzzingclient", "--spec", str(folder / "spec.json"),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    index: dict[str, Any] = json.loads((folder / "reports" / "index.json").read_text())["ours"]
    return index


def wrong(index: dict[str, Any], *fields: str) -> list[str]:
    """Return the cases that are neither OK nor NON-STRICT."""
    found = []
    for name, outcome in index.items():
        verdicts = [outcome[field] for field in fields]
        if not set(verdicts) <= FINE:
            found.append(f"{name}: {verdicts}")
    return sorted(found)


async def test_an_echo_passes_the_suite(tmp_path: Path) -> None:
    """Groups 1 to 7, 9 and 10."""
    cases = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
    async with echo_server() as url:
        index = await fuzz(tmp_path, url, cases, TOO_LONG)
    assert len(index) > 240
    assert wrong(index, "behavior", "behaviorClose") == []


async def test_the_native_endpoint_passes_the_suite(tmp_path: Path) -> None:
    """How each case ends; the greeting is a message the suite does not expect of an echo."""
    async with serve() as live:
        index = await fuzz(tmp_path, live.ws, ["2.*", "3.*", "4.*", "7.*"], NEEDS_ECHO)
        await live.runtime.wait_empty()
    assert len(index) > 50
    assert wrong(index, "behaviorClose") == []
