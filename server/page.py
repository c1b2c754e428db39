"""The web page at `/` and its files, out of the installed package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import hdrs, web

_INDEX = "index.html"
_MIME_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Everything from here; WebAssembly for the decoder, and sockets, which old browsers do not count as
# 'self'. `frame-ancestors` is left out: a page that shows ours in a frame gains nothing.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: wss:;"
    " img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    content_type: str
    etag: str


def add_page(app: web.Application) -> None:
    """Serve the page at `/` and its files under `/web/`; they are read once, here."""
    assets = {path: _read(found) for path, found in _walk(files("clients").joinpath("web"), "")}

    async def serve_page(request: web.Request) -> web.StreamResponse:
        """Answer with a file of the page, or 304 if the browser has it."""
        asset = assets.get(request.match_info.get("path", _INDEX))
        if asset is None:
            raise web.HTTPNotFound
        headers = {
            hdrs.CACHE_CONTROL: "no-cache",  # ask every time: a new version is used at once
            hdrs.ETAG: asset.etag,
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        if request.headers.get(hdrs.IF_NONE_MATCH) == asset.etag:
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = asset.content_type
        return web.Response(body=asset.body, headers=headers)

    app.router.add_get("/", serve_page)
    app.router.add_get("/web/{path:.+}", serve_page)


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    """Return the files that are part of the page, by their path under it."""
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in _MIME_TYPES:
            found.append((prefix + entry.name, entry))
    return found


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _read(entry: Traversable) -> _Asset:
    body = entry.read_bytes()
    return _Asset(
        body, _MIME_TYPES[_suffix(entry.name)], f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    )
