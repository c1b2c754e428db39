"""Addresses out of what was given for a server."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from engine.errors import InvalidParameter

_SOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_PLAIN = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


def socket_address(url: str, path: str) -> str:
    """Return a WebSocket address; `path` is added where the URL has none.

    Raises:
        InvalidParameter: If it is no address of a server.
    """
    return _address(url, path, _SOCKET)


def http_address(url: str, path: str) -> str:
    """Return an HTTP address, likewise."""
    return _address(url, path, _PLAIN)


def _address(url: str, path: str, schemes: dict[str, str]) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in schemes or not parts.hostname:
        raise InvalidParameter("url", url, "http://HOST:PORT or ws://HOST:PORT")
    found = parts.path.rstrip("/") or path
    return urlunsplit((schemes[parts.scheme], parts.netloc, found, parts.query, ""))
