"""Mounts every dialect on the server's one port."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from server.access import check_page
from server.dialects.api_v2 import ApiV2
from server.dialects.cartesia import Cartesia
from server.dialects.dashscope import DashScope
from server.dialects.deepgram import Deepgram
from server.dialects.elevenlabs import ElevenLabs
from server.dialects.openai_speech import OpenAISpeech
from server.dialects.wyoming import serve_wyoming
from server.errors import ClientError
from server.runtime import Runtime

_ALLOWED_HEADERS = "authorization, content-type, xi-api-key, x-api-key, x-request-id"


def add_dialects(app: web.Application, runtime: Runtime) -> None:
    """Add the routes of every dialect."""
    if not runtime.config.dialects.enabled:
        return
    for dialect in (ApiV2, OpenAISpeech, ElevenLabs, Cartesia, DashScope, Deepgram):
        dialect(runtime).add_routes(app.router)

    async def wyoming(app: web.Application) -> AsyncIterator[None]:
        async for _ in serve_wyoming(runtime):
            yield

    app.cleanup_ctx.append(wyoming)

    async def admit_page(request: web.Request, response: web.StreamResponse) -> None:
        """Let a page of an origin that is allowed read the answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or isinstance(response, web.WebSocketResponse):
            return
        try:
            check_page(request, runtime)
        except ClientError:
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.VARY] = hdrs.ORIGIN

    app.on_response_prepare.append(admit_page)
    app.router.add_options("/{path:.*}", _preflight)


async def _preflight(request: web.Request) -> web.Response:
    """Answer a browser that asks before it posts; `admit_page` says whether it may."""
    del request
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, DELETE",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: "600",
    }
    return web.Response(status=204, headers=headers)
