"""Takes the README's picture of the page: a real server, the bundled model, a headless browser.

python .ci/screenshot.py [FILE]        default: clients/web/screenshot.png
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # noqa: TID251  started by path, from anywhere

from bench.rivals.serving import free_port  # noqa: E402
from tests.clients.chromium import browse, running  # noqa: E402

TEXT = (
    "Good evening, everyone, and welcome back to the stream. Tonight we finally open the door at "
    "the end of the corridor."
)
_START_S = 120.0
_SIZE = (1000, 690)
_HEARD_S = 2.5  # of speech before the picture


def wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server says that it is ready."""
    deadline = time.monotonic() + _START_S
    while "sovits-live is ready" not in log.read_text():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.1)


async def photograph(address: str, url: str) -> bytes:
    """Let the page speak and return what it looks like in the middle of it."""
    async with browse(address) as page:
        await page.resize(*_SIZE)
        await page.prefer("light")
        await page.open(url)
        await page.run('import("/web/i18n.js").then((m) => m.setLanguage("en"))')
        await page.until("!document.querySelector('#speak').disabled", _START_S)
        # The first sentence of a server is slower than all that follow.
        await page.type("#text", "Hello.")
        await page.click("#speak")
        await page.until("globalThis.sovits?.stage.speech?.played > 0", _START_S)
        await page.type("#text", TEXT)
        await page.click("#speak")
        await page.until("document.querySelector('.sentence.now')", _START_S)
        await asyncio.sleep(_HEARD_S)
        await page.run("scrollTo(0, 0)")
        return await page.screenshot()


def main() -> None:
    """Start a server in a home of its own, photograph it, stop it."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "clients" / "web" / "screenshot.png"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="screenshot-") as folder:
        log = Path(folder) / "serve.log"
        command = [sys.executable, "-m", "server", "--port", str(port)]
        with log.open("wb") as output:
            server = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "HOME": folder, "XDG_DATA_HOME": ""},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_ready(server, log)
            with running() as address:
                picture = asyncio.run(photograph(address, f"http://127.0.0.1:{port}/"))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    target.write_bytes(picture)


if __name__ == "__main__":
    main()
