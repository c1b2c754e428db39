"""Speaks through a request whose answer streams: the text must be there as a whole first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bench.decode import AudioFormat
from bench.recording import Arrival, Clock, Recording
from bench.targets.base import Line, Refused, WireClosed, written
from bench.targets.sockets import LIMIT_S

_OK = 200


@dataclass(frozen=True, slots=True)
class Request:
    """What to post."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object]


class Answer(Protocol):
    """An answer that is being received."""

    status: int

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raises WireClosed when it is cut off."""
        ...


class Post(Protocol):
    """Posts and gives the answer when its head is there."""

    def __call__(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Return the answer; leaving it early closes the connection."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class HttpDialect(Protocol):
    """What is asked of one kind of HTTP server."""

    format: AudioFormat

    def request(self, text: str) -> Request:
        """Return the request that speaks a text."""
        ...


class HttpSession:
    """See Session. Tokens are collected until the text is whole: that is what such a server needs.

    A cancel is closing the connection: nothing can be heard after it, so nothing is reported.
    """

    def __init__(self, dialect: HttpDialect, post: Post, clock: Clock) -> None:
        self._dialect = dialect
        self._post = post
        self._clock = clock

    async def close(self) -> None:
        """See Session."""
        await self._post.close()

    async def speak(self, line: Line) -> Recording:
        """See Session."""
        recording = Recording(self._dialect.format, late_s=line.late_s)
        try:
            async with asyncio.timeout(LIMIT_S):
                text = "".join([t async for t in written(line, recording, self._clock)])
                async with self._post(self._dialect.request(text)) as answer:
                    await self._listen(answer, line, recording)
        except (WireClosed, Refused) as error:
            recording.error = str(error) or type(error).__name__
        except TimeoutError:
            recording.error = f"no end after {LIMIT_S:.0f} s"
        return recording

    async def _listen(self, answer: Answer, line: Line, recording: Recording) -> None:
        number = 0
        async for chunk in answer.chunks():
            at_s = self._clock()
            if answer.status != _OK:
                raise Refused(f"HTTP {answer.status}: {chunk[:200].decode(errors='replace')}")
            number += 1
            recording.arrivals.append(Arrival(at_s, number, chunk))
            heard_s = at_s - recording.arrivals[0].at_s
            if line.cancel_after_s is not None and heard_s >= line.cancel_after_s:
                recording.cancelled_s, recording.hears_after_cancel = at_s, False
                return
        if answer.status != _OK:
            raise Refused(f"HTTP {answer.status}")
        recording.is_complete = True
