"""Headless Chromium over the DevTools protocol: only what the page's tests need."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
    "--window-size=1000,900",
    "--lang=en-US",
)
START_S = 30.0
POLL_S = 0.02


class PageError(Exception):
    """A script of the test failed in the page."""


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.problems: list[str] = []  # exceptions nobody caught, console errors, refused loads

    async def read(self) -> None:
        """Take what the browser says, until it is gone; runs beside everything else."""
        async for data in self._socket:
            message = json.loads(data)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.problems.append(details.get("exception", details).get("description", "?"))
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        answer = await asyncio.wait_for(future, START_S)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']}")
        return answer["result"]

    async def run(self, script: str) -> Any:
        """Evaluate an expression, await its promise, return its value."""
        result = await self.command(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            raise PageError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    async def until(self, condition: str, timeout_s: float = 15.0) -> Any:
        """Evaluate an expression until it is true, and return it."""
        async with asyncio.timeout(timeout_s):
            # One command a try: the answer comes when the page has time, so this does not spin.
            return await self.run(
                f"""new Promise((resolve, reject) => {{
                  const look = () => {{
                    try {{
                      const value = {condition};
                      if (value) resolve(value);
                      else setTimeout(look, {POLL_S * 1000});
                    }} catch (error) {{
                      reject(error);
                    }}
                  }};
                  look();
                }})"""
            )

    async def open(self, url: str) -> None:
        """Load a page."""
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def click(self, selector: str) -> None:
        """Click the middle of an element with a real mouse event."""
        box = await self.run(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              element.scrollIntoView({{ block: "center" }});
              const {{ x, y, width, height }} = element.getBoundingClientRect();
              return [x + width / 2, y + height / 2];
            }})()"""
        )
        at = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, **at)

    async def key(self, name: str, *, code: int, modifiers: int = 0, text: str = "") -> None:
        """Press and release a key; 2 is Ctrl."""
        press = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        if text:
            press["text"] = text
        await self.command("Input.dispatchKeyEvent", type="keyDown", **press)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **press)

    async def type(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        target = json.dumps(selector)
        await self.run(
            f"document.querySelector({target}).focus(), document.querySelector({target}).select()"
        )
        await self.command("Input.insertText", text=text)

    async def resize(self, width: int, height: int, *, is_mobile: bool = False) -> None:
        """Give the window a size."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_mobile,
        )

    async def prefer(self, scheme: str) -> None:
        """Let the system prefer "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.command("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self) -> bytes:
        """Return what is seen, as PNG."""
        result = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(result["data"])


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running() -> Iterator[str]:
    """Run a browser with a profile of its own and give the address it is commanded at."""
    program = find_chromium()
    assert program is not None, f"none of {', '.join(NAMES)} is installed"
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        tempfile.TemporaryFile("w+") as log,
    ):
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield _debug_address(process, Path(profile) / "DevToolsActivePort", log)
        finally:
            process.kill()
            process.wait()


def _debug_address(process: subprocess.Popen[bytes], file: Path, log: IO[str]) -> str:
    """Return what the browser writes into its profile once it listens."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(POLL_S)
    log.seek(0)
    raise PageError(f"the browser did not start: {log.read()[-2000:]}")


@asynccontextmanager
async def browse(address: str) -> AsyncIterator[Page]:
    """Give a new tab with no history, storage or cache."""
    options: dict[str, Any] = {"proxy": None, "compression": None, "max_size": None}
    async with connect(address, **options) as socket:
        async with _reading(Page(socket)) as browser:
            context = await browser.command("Target.createBrowserContext")
            tab = await browser.command("Target.createTarget", url="about:blank", **context)
            host = address.split("/devtools/")[0]
            url = f"{host}/devtools/page/{tab['targetId']}"
            async with connect(url, **options) as page_socket:
                async with _reading(Page(page_socket)) as page:
                    for domain in ("Page", "Runtime", "Log"):
                        await page.command(f"{domain}.enable")
                    yield page
            await browser.command("Target.disposeBrowserContext", **context)


@asynccontextmanager
async def _reading(page: Page) -> AsyncIterator[Page]:
    reader = asyncio.create_task(page.read())
    try:
        yield page
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
