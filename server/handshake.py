"""What a request says before its WebSocket exists: key, subprotocols, defaults; and its socket."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import WSCloseCode, hdrs, web

from server.errors import ClientError
from server.settings import Settings, apply
from server.wire import Patch, WireError, decode_patch

_BEARER_PROTOCOL = "bearer."
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # 25 on Linux; in socket from 3.12
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
_NOTSENT_BYTES = 4096
_USER_TIMEOUT_MS = 15_000

_WRITER_LIMIT = 4096  # drain the transport after that much
_HEARTBEAT_S = 20.0
_CLOSE_TIMEOUT_S = 2.0
_LAST_CLOSE_CODE = 4999  # RFC 6455 7.4.2

# What a URL may set; everything else takes a session.update.
_QUERY_TEXT = ("voice", "style", "lang")
_QUERY_NUMBERS = ("speed", "sample_rate", "lead_ms")


def offered_protocols(request: web.Request) -> list[str]:
    """Return the subprotocols the client offers."""
    header = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
    return [name.strip() for name in header.split(",") if name.strip()]


def bearer(request: web.Request) -> str | None:
    """Return the key a request carries: in Authorization, or as a `bearer.` subprotocol.

    Browsers cannot set headers on a WebSocket; the subprotocol is not logged, a URL would be.
    """
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for name in offered_protocols(request):
        if name.startswith(_BEARER_PROTOCOL):
            return name.removeprefix(_BEARER_PROTOCOL)
    return None


class _Socket(web.WebSocketResponse):
    """A WebSocket that answers close codes no peer may send with 1002; aiohttp lets them pass."""

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        """See WebSocketResponse: it calls this with the default when the peer closes."""
        said = self.close_code
        if said is not None and (said == WSCloseCode.ABNORMAL_CLOSURE or said > _LAST_CLOSE_CODE):
            code = WSCloseCode.PROTOCOL_ERROR
        return await super().close(code=code, message=message, drain=drain)


def new_socket(max_bytes: int, protocols: tuple[str, ...] = ()) -> web.WebSocketResponse:
    """Return a WebSocket as every route of this server sets it.

    Without compression: Opus has nothing left to compress, and a window costs memory per client.

    Args:
        max_bytes: Longer messages close it with 1009.
        protocols: Subprotocols to agree on.
    """
    return _Socket(
        protocols=protocols,
        compress=False,
        max_msg_size=max_bytes,
        heartbeat=_HEARTBEAT_S,
        writer_limit=_WRITER_LIMIT,
        timeout=_CLOSE_TIMEOUT_S,
    )


def with_query(request: web.Request, defaults: Settings) -> Settings:
    """Return `defaults` with what the URL sets: `?voice=&style=&lang=&format=&sample_rate=...`.

    Raises:
        ClientError: bad_message or unsupported_format.
    """
    given: dict[str, object] = {n: request.query[n] for n in _QUERY_TEXT if n in request.query}
    for name in _QUERY_NUMBERS:
        if name in request.query:
            given[name] = _number(name, request.query[name])
    if "format" in request.query:
        given["format"] = {"codec": request.query["format"]}
    try:
        patch: Patch = decode_patch(Settings, given)
    except WireError as error:
        code = "unsupported_lang" if error.path == "lang" else "bad_message"
        raise ClientError(code, str(error)) from None
    return apply(defaults, patch)


def _number(name: str, text: str) -> int | float:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise ClientError("bad_message", f"{name} is {text!r:.80}, valid: a number") from None


def tune(transport: asyncio.BaseTransport | None) -> None:
    """Keep little in the kernel: what it holds can be neither cancelled nor paced."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (_NOTSENT_LOWAT, _NOTSENT_BYTES),
        (_USER_TIMEOUT, _USER_TIMEOUT_MS),
    ):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError:
            continue  # an option this system does not have; the window still paces
