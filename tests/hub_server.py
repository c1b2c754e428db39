"""A hub on this machine: serves files with ranges, and fails where a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked.

    Attributes:
        files: Content by path, without the leading slash.
        cut_after: How many bytes of a body are sent before the connection is cut, one entry per
            request; then all is well.
        statuses: Answers to the next requests, before any file.
        ignores_ranges: Send whole files always, as some proxies do.
        says_length: Send a Content-Length.
        asked: (path, Range header) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ignores_ranges: bool = False
    says_length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port of this machine; its `url` is set."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        wanted = self.headers.get("Range")
        self.hub.asked.append((path, wanted))
        if self.hub.statuses:
            return self._status(self.hub.statuses.pop(0))
        body = self.hub.files.get(path)
        if body is None:
            return self._status(404)
        start = 0
        if wanted and not self.hub.ignores_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                return self._status(416)
        self.send_response(206 if start else 200)
        if self.hub.says_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.hub.cut_after.pop(0) if self.hub.cut_after else len(body)
        with suppress(ConnectionError):  # a client that has read enough goes
            self.wfile.write(body[start:end])
        return None

    def _status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""
