"""What goes wrong in a request, in one form that every route writes in its own words."""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import hdrs, web

from engine.errors import Overloaded, SovitsError
from server.errors import ClientError, error_code
from server.messages import ErrorMessage

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One error.

    Attributes:
        status: HTTP status.
        code: A key of `ERROR_CODES`, or "not_found" and the like from HTTP itself.
    """

    status: int
    code: str
    message: str
    request_id: str
    retry_after_s: float | None = None


class ContextFailed(Exception):
    """A context ended with an error."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Render: TypeAlias = Callable[[Problem], Mapping[str, object]]


def answering(render: Render) -> Callable[[Handler], Handler]:
    """Make a handler answer errors with the JSON that `render` returns."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Exception as error:
                problem = problem_of(error, request_id=request_id_of(request), path=request.path)
                if isinstance(error, web.HTTPException) and error.status < 400:
                    raise
                return response(problem, render(problem))

        return answered

    return decorate


def request_id_of(request: web.Request) -> str:
    """Return the id a request is found under in the log."""
    return request.headers.get("X-Request-Id", "")[:64] or uuid.uuid4().hex[:16]


def problem_of(error: BaseException, *, request_id: str = "", path: str = "") -> Problem:
    """Return an exception as a problem; one that is a bug of ours is logged."""
    request_id = request_id or uuid.uuid4().hex[:16]
    match error:
        case ContextFailed():
            return error.problem
        case ClientError():
            entry = error_code(error.code)
            return Problem(entry.status, error.code, error.message, request_id, error.retry_after_s)
        case SovitsError():
            entry = error_code(error.code)
            retry_s = error.retry_after_ms / 1000 if isinstance(error, Overloaded) else None
            return Problem(entry.status, entry.code, str(error), request_id, retry_s)
        case web.HTTPException():
            code = "text_too_long" if error.status == 413 else "bad_message"
            return Problem(error.status, code, error.reason, request_id)
    fields = {"request_id": request_id, "path": path}
    logger.error("request failed", exc_info=error, extra=fields)
    return Problem(500, "internal", f"the server's log has it as {request_id}", request_id)


def problem_of_message(error: ErrorMessage) -> Problem:
    """Return the error that ended a context as a problem."""
    retry_s = None if error.retry_after_ms is None else error.retry_after_ms / 1000
    # 480 is no status of HTTP's registry.
    status = error.status if error.status != 480 else 408
    return Problem(status, error.code, error.message, error.request_id, retry_s)


def response(problem: Problem, body: Mapping[str, object]) -> web.Response:
    """Return the answer for a problem."""
    headers = {"X-Request-Id": problem.request_id}
    if problem.status in (429, 503):
        headers[hdrs.RETRY_AFTER] = str(max(_RETRY_AFTER_S, round(problem.retry_after_s or 0)))
    if problem.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.json_response(dict(body), status=problem.status, headers=headers)
