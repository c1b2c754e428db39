"""The HTTP side: routes, answers to errors, admission before the upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated

from aiohttp import hdrs, web

from server import messages
from server.access import check_page, credential
from server.dialects.common import Caller, admitted, json_body
from server.dialects.problems import Handler, Problem, problem_of, request_id_of, response
from server.dialects.routes import add_dialects
from server.errors import ClientError
from server.handshake import new_socket, offered_protocols, tune, with_query
from server.link import Link
from server.metrics import CONTENT_TYPE
from server.page import add_page
from server.runtime import Runtime
from server.session import Session, SessionOptions
from server.settings import Settings
from server.tokens import TTL
from server.voice_routes import VoiceRoutes, voice_body
from server.wire import WireError, decode

RUNTIME = web.AppKey("runtime", Runtime)

_MAX_LAG_S = 1.0
# Above the protocol's own limit, so that a message that is too long gets its answer in-band and
# the other contexts of the session go on; beyond this the library closes with 1009.
MAX_WS_BYTES = 2 * 1024 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_SHUTDOWN_TIMEOUT_S = 2.0  # for handlers that still run when everything is drained


def create_app(runtime: Runtime) -> web.Application:
    """Return the application; it owns engine and frontend while it runs."""
    app = web.Application(middlewares=[answer_errors], client_max_size=_MAX_BODY_BYTES)
    app[RUNTIME] = runtime

    async def run(app: web.Application) -> AsyncIterator[None]:
        async for _ in runtime.run():
            yield

    app.cleanup_ctx.append(run)
    app.router.add_get("/v1/tts/ws", serve_native)
    app.router.add_get("/v1/voices", serve_voices)
    app.router.add_post("/v1/tokens", serve_tokens)
    app.router.add_get("/healthz", serve_health)
    app.router.add_get("/readyz", serve_ready)
    app.router.add_get("/metrics", serve_metrics)
    add_page(app)
    VoiceRoutes(runtime).add_routes(app.router)
    add_dialects(app, runtime)
    return app


def make_runner(runtime: Runtime) -> web.AppRunner:
    """Return what runs the application on sites.

    A connection that does not finish a request in time is closed: slow headers cost a socket,
    no more.
    """
    return web.AppRunner(
        create_app(runtime),
        access_log=None,  # aiohttp's shows query strings, which may hold tokens
        keepalive_timeout=runtime.config.server.limits.request_timeout_s,
        shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
    )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into JSON with code, message and request id."""
    request_id = request_id_of(request)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        status = error.status
        # Every path answers a browser's OPTIONS: that alone does not make it exist.
        if isinstance(error, web.HTTPMethodNotAllowed) and error.allowed_methods <= {"OPTIONS"}:
            status = 404
        code = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_message")
        answer = _error(Problem(status, code, HTTPStatus(status).phrase, request_id))
        if hdrs.ALLOW in error.headers:
            answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return answer
    except Exception as error:
        if isinstance(error, ClientError):
            request.app[RUNTIME].metrics.errors.labels(error.code).inc()
        return _error(problem_of(error, request_id=request_id, path=request.path))


def _error(problem: Problem) -> web.Response:
    body = {"code": problem.code, "message": problem.message, "request_id": problem.request_id}
    return response(problem, {"error": body})


async def serve_native(request: web.Request) -> web.StreamResponse:
    """Serve `/v1/tts/ws`; every refusal comes before the upgrade."""
    runtime = request.app[RUNTIME]
    with admitted(request, runtime) as caller:
        check = _check_for(caller, runtime)
        defaults = with_query(request, caller.account.lowered(runtime.defaults()))
        if caller.voice is not None:
            defaults = replace(defaults, voice=caller.voice)
        if request.query:
            check(defaults)
        is_ours = messages.PROTOCOL in offered_protocols(request)
        # Only when it was offered: aiohttp logs what it cannot match, keys included.
        ws = new_socket(MAX_WS_BYTES, (messages.PROTOCOL,) if is_ours else ())
        options = SessionOptions(
            runtime.config.server.limits,
            defaults,
            check,
            runtime.ready_message,
            caller.account,
            runtime.parking,
            "" if is_ours else f"no subprotocol was agreed on; this is {messages.PROTOCOL}",
        )
        link = Link(ws, request.transport)
        session = Session(link, runtime.services, runtime.admission, options)
        ws.headers["X-Request-Id"] = session.id
        await ws.prepare(request)
        tune(request.transport)
        with runtime.hosting(session):
            await session.run()
        return ws


def _check_for(caller: Caller, runtime: Runtime) -> Callable[[Settings], None]:
    """Return the check of settings for who was admitted."""

    def check(settings: Settings) -> None:
        caller.check_voice(settings)
        caller.account.check(settings)
        runtime.check(settings)

    return check


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The body of `POST /v1/tokens`; all of it is optional."""

    ttl_s: Annotated[float, TTL] = 30.0
    origin: str | None = None
    voice: str | None = None


async def serve_tokens(request: web.Request) -> web.Response:
    """Serve `POST /v1/tokens`: a key buys a token for a browser."""
    runtime = request.app[RUNTIME]
    holder = runtime.keys.holder(credential(request))
    check_page(request, runtime)  # one of another site must not mint for its visitor
    body = await json_body(request)
    try:
        wanted = decode(TokenRequest, body, strict=True)
    except WireError as error:
        raise ClientError("bad_message", str(error)) from None
    if wanted.voice is not None and wanted.voice not in runtime.engine.voices:
        raise ClientError("voice_not_found", f"voice is {wanted.voice!r}")
    token = runtime.tokens.mint(
        holder, ttl_s=wanted.ttl_s, origin=wanted.origin, voice=wanted.voice
    )
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    return web.json_response({"token": token, "expires_in_s": wanted.ttl_s}, headers=headers)


async def serve_voices(request: web.Request) -> web.Response:
    """Serve `GET /v1/voices`."""
    runtime = request.app[RUNTIME]
    runtime.keys.holder(credential(request))
    runtime.admission.check_open()
    voices = [voice_body(voice) for voice in runtime.engine.voices.values()]
    return web.json_response({"voices": voices})


async def serve_health(request: web.Request) -> web.Response:
    """Serve `/healthz`: the event loop turns."""
    lag_s = request.app[RUNTIME].lag_s
    is_well = lag_s < _MAX_LAG_S
    body = {"status": "ok" if is_well else "slow", "loop_lag_s": round(lag_s, 4)}
    return web.json_response(body, status=200 if is_well else 503)


async def serve_ready(request: web.Request) -> web.Response:
    """Serve `/readyz`: warmed up, the engine speaks, nothing drains."""
    runtime = request.app[RUNTIME]
    status = await runtime.readiness()
    body: dict[str, object] = {"status": status}
    if status != "ready":
        return web.json_response(body, status=503)
    info = runtime.engine.info
    body |= {"model": info.pack, "voices": len(runtime.engine.voices), "notice": info.notice}
    return web.json_response(body)


async def serve_metrics(request: web.Request) -> web.Response:
    """Serve `/metrics`; without a key unless one is asked for: scrapers seldom have any."""
    runtime = request.app[RUNTIME]
    if runtime.config.server.metrics_need_key:
        runtime.keys.holder(credential(request))
    if runtime.status in ("ready", "draining") and runtime.engine.is_ready:
        runtime.metrics.set_engine(await runtime.engine.stats())
    waiting = sum(session.bytes_queued() for session in runtime.sessions)
    runtime.metrics.send_buffer_bytes.set(waiting)
    return web.Response(body=runtime.metrics.expose(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})
