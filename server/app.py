"""The HTTP side: routes, answers to errors, admission before the upgrade."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict

from aiohttp import hdrs, web

from engine.errors import Overloaded, SovitsError
from server import messages
from server.admission import Guest, check_origin
from server.errors import ClientError, error_code
from server.handshake import bearer, offered_protocols, tune, with_query
from server.metrics import CONTENT_TYPE
from server.page import add_page
from server.runtime import Runtime
from server.session import Session, SessionOptions

logger = logging.getLogger(__name__)

RUNTIME = web.AppKey("runtime", Runtime)

_RETRY_AFTER_S = 1
_MAX_LAG_S = 1.0
# Above the protocol's own limit, so that a message that is too long gets its answer in-band and
# the other contexts of the session go on; beyond this the library closes with 1009.
_MAX_WS_BYTES = 2 * 1024 * 1024
_WRITER_LIMIT = 4096  # drain the transport after that much
_HEARTBEAT_S = 20.0
_MAX_BODY_BYTES = 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    app.router.add_get("/healthz", serve_health)
    app.router.add_get("/readyz", serve_ready)
    app.router.add_get("/metrics", serve_metrics)
    add_page(app)
    return app


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into JSON with code, message and request id."""
    request_id = request.headers.get("X-Request-Id", "")[:64] or uuid.uuid4().hex[:16]
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status, "bad_message")
        answer = _error(error.status, code, error.reason, request_id)
        if hdrs.ALLOW in error.headers:
            answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return answer
    except ClientError as error:
        request.app[RUNTIME].metrics.errors.labels(error.code).inc()
        return _error(error_code(error.code).status, error.code, error.message, request_id)
    except SovitsError as error:
        entry = error_code(error.code)
        retry_s = error.retry_after_ms / 1000 if isinstance(error, Overloaded) else None
        return _error(entry.status, entry.code, str(error), request_id, retry_s=retry_s)
    except Exception:
        logger.exception("request failed", extra={"request_id": request_id, "path": request.path})
        return _error(500, "internal", f"the server's log has it as {request_id}", request_id)


def _error(
    status: int, code: str, message: str, request_id: str, *, retry_s: float | None = None
) -> web.Response:
    body = {"error": {"code": code, "message": message, "request_id": request_id}}
    headers = {"X-Request-Id": request_id}
    if status in (429, 503):
        headers[hdrs.RETRY_AFTER] = str(max(_RETRY_AFTER_S, round(retry_s or 0)))
    if status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.json_response(body, status=status, headers=headers)


async def serve_native(request: web.Request) -> web.StreamResponse:
    """Serve `/v1/tts/ws`; every refusal comes before the upgrade."""
    runtime = request.app[RUNTIME]
    guest = Guest(request.remote or "", runtime.keys.holder(bearer(request)))
    origin, host = request.headers.get(hdrs.ORIGIN), request.headers.get(hdrs.HOST)
    check_origin(origin, host, runtime.config.server.origins)
    runtime.admission.enter(guest)
    try:
        defaults = with_query(request, runtime.defaults())
        if request.query:
            runtime.check(defaults)
        is_ours = messages.PROTOCOL in offered_protocols(request)
        ws = web.WebSocketResponse(
            # Only when it was offered: aiohttp logs what it cannot match, keys included.
            protocols=(messages.PROTOCOL,) if is_ours else (),
            compress=False,
            max_msg_size=_MAX_WS_BYTES,
            heartbeat=_HEARTBEAT_S,
            writer_limit=_WRITER_LIMIT,
            timeout=2.0,
        )
        await ws.prepare(request)
        tune(request.transport)
        options = SessionOptions(
            runtime.config.server.limits, defaults, runtime.check, runtime.ready_message, guest.key
        )
        session = Session(
            ws, runtime.services, runtime.admission, options, transport=request.transport
        )
        with runtime.hosting(session):
            await session.run()
        return ws
    finally:
        runtime.admission.leave(guest)


async def serve_voices(request: web.Request) -> web.Response:
    """Serve `GET /v1/voices`."""
    runtime = request.app[RUNTIME]
    runtime.keys.holder(bearer(request))
    runtime.admission.check_open()
    voices = [
        {
            "id": voice.id,
            "language": str(voice.language),
            "styles": list(voice.styles),
            "description": voice.description,
        }
        for voice in runtime.engine.voices.values()
    ]
    return web.json_response({"voices": voices})


async def serve_health(request: web.Request) -> web.Response:
    """Serve `/healthz`: the event loop turns."""
    lag_s = request.app[RUNTIME].lag_s
    is_well = lag_s < _MAX_LAG_S
    body = {"status": "ok" if is_well else "slow", "loop_lag_s": round(lag_s, 4)}
    return web.json_response(body, status=200 if is_well else 503)


async def serve_ready(request: web.Request) -> web.Response:
    """Serve `/readyz`: a warm-up synthesis was made, the engine lives, nothing drains."""
    runtime = request.app[RUNTIME]
    body: dict[str, object] = {"status": runtime.status}
    if runtime.status != "ready":
        return web.json_response(body, status=503)
    info = runtime.engine.info
    body |= {"model": info.pack, "voices": len(runtime.engine.voices), "notice": info.notice}
    return web.json_response(body)


async def serve_metrics(request: web.Request) -> web.Response:
    """Serve `/metrics`."""
    runtime = request.app[RUNTIME]
    if runtime.status in ("ready", "draining") and runtime.engine.is_ready:
        stats = asdict(await runtime.engine.stats())
        steps = stats.pop("steps_by_batch")
        runtime.metrics.set_engine(stats, steps)
    waiting = sum(session.protocol.bytes_queued() for session in runtime.sessions)
    runtime.metrics.send_buffer_bytes.set(waiting)
    return web.Response(body=runtime.metrics.expose(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})
