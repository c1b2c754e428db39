"""Who is asking: an API key in any of the headers that other services' clients use, or a token."""

from __future__ import annotations

from aiohttp import hdrs, web

from server.admission import Keys, check_origin
from server.handshake import bearer
from server.runtime import Runtime
from server.tokens import Grant

_KEY_HEADERS = ("xi-api-key", "X-API-Key", "api-key")  # ElevenLabs, Cartesia, others
_SCHEMES = ("token", "bearer")  # "token" is Deepgram's


def admit(request: web.Request, runtime: Runtime, *, keys: Keys | None = None) -> Grant:
    """Return what a request may do, from an origin that is allowed.

    Args:
        keys: Those that are accepted; None: the server's.

    Raises:
        ClientError: unauthorized, token_expired or forbidden_origin.
    """
    # Only one-time tokens come in a URL: URLs are logged, keys must not be.
    if "token" in request.query:
        return runtime.tokens.redeem(request.query["token"], request.headers.get(hdrs.ORIGIN))
    holder = (keys or runtime.keys).holder(credential(request))
    check_page(request, runtime)
    return Grant(holder, None)


def check_page(request: web.Request, runtime: Runtime) -> None:
    """Refuse a browser page that is none of this server's.

    Raises:
        ClientError: forbidden_origin.
    """
    check_origin(
        request.headers.get(hdrs.ORIGIN),
        request.headers.get(hdrs.HOST),
        runtime.config.server.origins,
        has_keys=runtime.keys.are_required,
    )


def credential(request: web.Request) -> str | None:
    """Return the key a request carries in a header or subprotocol."""
    found = bearer(request)
    if found is not None:
        return found
    for name in _KEY_HEADERS:
        if request.headers.get(name):
            return request.headers[name]
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() in _SCHEMES:
        return key.strip() or None
    return scheme or None
