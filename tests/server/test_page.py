"""The page's files over HTTP."""

from __future__ import annotations

import re

import pytest
from aiohttp import ClientSession

from tests.server.live import serve


async def test_the_page_and_all_it_names_are_served() -> None:
    """Every file index.html and the modules refer to is there, with its type."""
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    async with serve() as live, ClientSession(live.http) as http:
        async with http.get("/") as response:
            assert response.content_type == "text/html"
            named = set(re.findall(r'(?:href|src)="(web/[^"]+)"', await response.text()))
        assert len(named) >= 3
        queue = [f"/{name}" for name in named]
        for path in queue:
            async with http.get(path) as response:
                assert response.status == 200, path
                assert response.content_type == types[path.rsplit(".")[-1]]
                body = await response.text()
            if path.endswith(".js") and "vendor" not in path:
                modules = re.findall(r'(?:from|import\(|new URL\()\s*"(?:\./)?([^"]+)"', body)
                queue += [p for p in (f"/web/{name}" for name in modules) if p not in queue]
    assert len(queue) > 12


async def test_browsers_ask_again_and_are_told_if_nothing_changed() -> None:
    """no-cache with an ETag: 304 for the same, 200 for another."""
    async with serve() as live, ClientSession(live.http) as http:
        async with http.get("/web/app.js") as response:
            etag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "no-cache"
        async with http.get("/web/app.js", headers={"If-None-Match": etag}) as response:
            assert response.status == 304 and await response.read() == b""
        async with http.get("/web/app.js", headers={"If-None-Match": '"x"'}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "path", ["/web/", "/web/none.js", "/web/../say.py", "/web/%2e%2e/say.py", "/web/screenshot.png"]
)
async def test_nothing_else_is_served(path: str) -> None:
    """Only names of the page's files, not paths."""
    async with serve() as live, ClientSession(live.http) as http:
        async with http.get(f"{live.http}{path}") as response:
            assert response.status == 404


async def test_the_page_may_load_nothing_foreign() -> None:
    """The policy names no other host, allows no inline script, and no file names one."""
    async with serve() as live, ClientSession(live.http) as http:
        async with http.get("/") as response:
            policy = response.headers["Content-Security-Policy"]
            html = await response.text()
    assert "default-src 'self'" in policy and "unsafe-inline" not in policy
    assert "http" not in policy and "https://" not in html and "//" not in html.split("<body>")[0]
