"""Where an utterance speaks to: one native context, or a dialect's translation of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from server.frames import AudioPacket
from server.messages import ServerMessage
from server.outbox import Sent


class Sink(Protocol):
    """All methods are for the event loop and return at once."""

    def send(self, message: ServerMessage) -> bool:
        """Say something about the utterance; False if it may say no more."""
        ...

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """Hand over consecutive packets; False if it may send no more."""
        ...

    def fail(self, code: str, message: str, *, request_id: str, retry_after_ms: int | None) -> None:
        """End the utterance with an error."""
        ...

    def starve(self) -> None:
        """Note that everything received has been spoken and more is awaited."""
        ...

    def sent(self) -> Sent:
        """Return how far the socket has taken the audio."""
        ...
