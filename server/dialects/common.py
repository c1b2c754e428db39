"""What every dialect shares: admission, contexts, and a context as the body of an HTTP answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import hdrs, web

from server.access import admit
from server.admission import Guest
from server.context import Audio, Context, ContextOptions
from server.dialects.containers import Container, Target, make_container
from server.dialects.problems import ContextFailed, Problem, problem_of_message
from server.errors import ClientError
from server.handshake import tune
from server.messages import ContextCancelled, ContextDone, ContextStarted, ErrorMessage
from server.quotas import Account
from server.runtime import Runtime
from server.settings import Settings, check_format

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speaking:
    """One text to speak and how to send it.

    Attributes:
        route: The dialect's name, for metrics.
        is_whole: Answer when everything is made, with its length; else as it is made.
    """

    text: str
    settings: Settings
    target: Target
    route: str
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        account: Of the key or token.
        voice: The only voice they may use; None: any.
    """

    account: Account
    voice: str | None

    def check_voice(self, settings: Settings) -> None:
        """Refuse another voice than the token's.

        Raises:
            ClientError: forbidden_voice.
        """
        if self.voice is not None and settings.voice != self.voice:
            text = f"voice is {settings.voice!r}, the token is for {self.voice!r}"
            raise ClientError("forbidden_voice", text)


@contextmanager
def admitted(request: web.Request, runtime: Runtime) -> Iterator[Caller]:
    """Hold a request's place among the server's connections.

    Raises:
        ClientError: unauthorized, forbidden_origin, draining, warming_up, overloaded, ...
    """
    grant = admit(request, runtime)
    account = runtime.accounts.of(grant.holder)
    guest = Guest(request.remote or "", grant.holder, account.allowance.connections)
    runtime.admission.enter(guest)
    try:
        yield Caller(account, grant.voice)
    finally:
        runtime.admission.leave(guest)


async def json_body(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object a request carries.

    Raises:
        ClientError: bad_json or bad_message.
    """
    try:
        body = json.loads((await request.text()).strip() or "{}")
    except (ValueError, RecursionError, LookupError):  # the last: a charset nobody knows
        raise ClientError("bad_json", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ClientError("bad_message", "the body is not a JSON object")
    return body


def base_settings(runtime: Runtime) -> Settings:
    """Return what a dialect's contexts start from; only for a guest who was admitted."""
    return replace(runtime.defaults(), lead_ms=runtime.config.dialects.lead_ms, framing="raw")


def context_for(
    runtime: Runtime,
    caller: Caller,
    settings: Settings,
    *,
    route: str,
    ctx: str = "",
    whole: bool = False,
) -> Context:
    """Open a context.

    Raises:
        ClientError: Settings that cannot be served.
    """
    check_format(settings.format)
    caller.check_voice(settings)
    settings = caller.account.lowered(settings)
    runtime.check(settings)
    limit = runtime.config.server.limits.max_buffer_chars
    options = ContextOptions(caller.account, route, limit, is_unpaced=whole)
    return Context(runtime.services, runtime.admission, options, settings, ctx=ctx)


class _Request:
    """An HTTP answer that is being spoken, as a server that drains sees it."""

    def __init__(self, context: Context, holder: str) -> None:
        self._context = context
        self.holder = holder

    def revoke(self) -> None:
        """Stop speaking."""
        self._context.cancel("unauthorized")

    def drain(self, deadline_s: float) -> None:
        """It ends by itself."""

    def close(self, code: int, reason: str) -> None:
        """Stop speaking."""
        del code
        self._context.cancel(reason)

    def bytes_queued(self) -> int:
        """Nothing is queued here; the transport has its own gauge."""
        return 0


@asynccontextmanager
async def spoken(runtime: Runtime, caller: Caller, speaking: Speaking) -> AsyncIterator[Context]:
    """Speak one text; leaving the block stops it."""
    settings = replace(speaking.settings, format=speaking.target.audio)
    context = context_for(runtime, caller, settings, route=speaking.route, whole=speaking.is_whole)
    context.append(speaking.text)
    context.end()
    with runtime.hosting(_Request(context, caller.account.holder)):
        life = asyncio.create_task(context.run(), name=f"{speaking.route}-request")
        try:
            yield context
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)


async def pieces(context: Context, container: Container) -> AsyncIterator[bytes]:
    """Yield the bytes of a context in its container; nothing empty.

    Raises:
        ContextFailed: If it ends with an error, or was stopped by the server.
    """
    async for event in context:
        data = b""
        match event:
            case ContextStarted():
                data = container.start(event)
            case Audio():
                data = container.add(event.packets)
            case ContextDone():
                data = container.finish(event)
            case ErrorMessage():
                raise ContextFailed(problem_of_message(event))
            case ContextCancelled(reason="unauthorized"):
                raise ContextFailed(Problem(401, "unauthorized", "the key was taken back", ""))
            case ContextCancelled():
                raise ContextFailed(Problem(503, "draining", "the server is shutting down", ""))
        if data:
            yield data
        elif isinstance(event, Audio):
            await asyncio.sleep(0)  # a body that is collected must not keep the loop to itself


async def answer(
    request: web.Request,
    runtime: Runtime,
    caller: Caller,
    speaking: Speaking,
    *,
    headers: Mapping[Any, str] | None = None,
) -> web.StreamResponse:
    """Answer a request with speech. Errors before the first byte have a status of their own."""
    async with spoken(runtime, caller, speaking) as context:
        container = make_container(speaking.target, is_whole=speaking.is_whole)
        found = pieces(context, container)
        fields = {hdrs.CONTENT_TYPE: speaking.target.content_type, **(headers or {})}
        if speaking.is_whole:
            body = b"".join([piece async for piece in found])
            return web.Response(body=body, headers=fields)
        return await send_pieces(request, runtime, found, fields)


async def send_pieces(
    request: web.Request,
    runtime: Runtime,
    found: AsyncIterator[bytes],
    headers: Mapping[Any, str],
) -> web.StreamResponse:
    """Send pieces as they come, in chunks of HTTP/1.1; the head waits for the first."""
    first = await anext(found)
    response = web.StreamResponse(headers=dict(headers))
    await response.prepare(request)
    tune(request.transport)
    stall_s = runtime.config.server.limits.write_stall_s
    try:
        async with asyncio.timeout(stall_s):
            await response.write(first)
        async for piece in found:
            async with asyncio.timeout(stall_s):
                await response.write(piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError, ContextFailed) as error:
        # A body that is cut off, which the client can see, and no second head in its middle.
        logger.info("answer cut off", extra={"reason": type(error).__name__})
        if request.transport is not None:
            request.transport.abort()
    return response
