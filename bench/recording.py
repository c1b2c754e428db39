"""What happened between a client and a server while one text was spoken, with the times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.decode import AudioFormat

Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Audio bytes that came in.

    Attributes:
        message: Number of the message, or of the read, they came in; several may share one.
        seq: The server's own number of the packet, where it has one.
    """

    at_s: float
    message: int
    payload: bytes
    seq: int | None = None


@dataclass(slots=True)
class Recording:
    """One utterance. Times are those of the client's monotonic clock.

    Attributes:
        texts: What was sent and when, before it was handed to the socket.
        late_s: How long after its arrival in an open loop it was begun.
        declared_s: Length of the audio as the server says at the end, where it does.
        is_complete: True once the server said that this was all.
        hears_after_cancel: False where a cancel is closing the connection.
        error: What the server or the connection said against it.
    """

    format: AudioFormat
    late_s: float = 0.0
    texts: list[tuple[float, str]] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    declared_s: float | None = None
    is_complete: bool = False
    cancelled_s: float | None = None
    cancel_confirmed_s: float | None = None
    hears_after_cancel: bool = True
    error: str = ""
