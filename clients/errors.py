"""What can go wrong on the client's side of a session."""

from __future__ import annotations


class StreamError(Exception):
    """Base of all errors of the client."""


class ConnectFailed(StreamError):
    """No session could be opened.

    Attributes:
        status: The HTTP status the server refused with, or None if it was not reached.
        retry_after_s: What the server asks to wait, or None.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class SessionLost(StreamError):
    """The session ended while it was in use.

    Attributes:
        close_code: Of the WebSocket, 1006 if it broke without one.
    """

    def __init__(self, message: str, *, close_code: int) -> None:
        super().__init__(message)
        self.close_code = close_code


class ServerError(StreamError):
    """The server refused a message or gave up a context.

    Attributes:
        code: The wire code, such as "voice_not_found".
        retryable: True if the same may succeed later.
    """

    def __init__(self, message: str, *, code: str, retryable: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retryable = retryable


class NothingToSpeak(StreamError):
    """The text holds no word in any language, only marks; names the text."""


class BadMessage(StreamError):
    """The server sent something that is not of this protocol."""


class Unplayable(StreamError):
    """A package or program that is needed to decode or play is missing; says how to get it."""
