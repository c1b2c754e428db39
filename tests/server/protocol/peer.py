"""Both sides of the session state machine, for its tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from server import events, messages
from server.frames import AudioPacket
from server.protocol import Limits, SessionProtocol
from server.settings import Settings


class Peer:
    """Both sides of a protocol: what a client sends, what utterances answer."""

    def __init__(
        self, limits: Limits | None = None, check: Callable[[Settings], None] | None = None
    ) -> None:
        self.protocol = SessionProtocol(
            limits or Limits(),
            Settings(),
            new_request_id=lambda: "r1",
            unix_ms=lambda: 1234,
            check=check or (lambda settings: None),
        )

    def send(self, kind: str, **fields: object) -> list[events.Event]:
        """Send one JSON message."""
        return self.protocol.receive_text(json.dumps({"type": kind, **fields}))

    def open(self, ctx: str = "a", **fields: object) -> int:
        """Open a context and return its alias."""
        opened = self.send("context.open", ctx=ctx, **fields)[-1]
        assert isinstance(opened, events.ContextOpened)
        return opened.alias

    def received(self) -> list[Any]:
        """Return everything that would be written, JSON parsed."""
        taken = []
        while (data := self.protocol.take()) is not None:
            taken.append(json.loads(data) if isinstance(data, str) else data)
        return taken

    def audio(self, alias: int, seq: int = 0) -> bool:
        """Let the utterance send one packet."""
        packet = AudioPacket(b"opus", seq, 960 * seq, 960, 0)
        return self.protocol.send_audio(alias, [packet])

    def segment(self, alias: int, ctx: str = "a", end: int = 2) -> bool:
        """Let the utterance start a sentence."""
        return self.protocol.send(alias, messages.SegmentStarted(ctx, 0, "hi", 0, 0, end))

    def done(self, alias: int, ctx: str = "a") -> bool:
        """Let the utterance finish."""
        usage, timings = messages.Usage(2, 20, 1), messages.Timings(1, 0, 0.1, 0)
        return self.protocol.send(alias, messages.ContextDone(ctx, 960, 1, usage, timings))

    def cancelled(self, alias: int, ctx: str = "a") -> bool:
        """Let the utterance confirm a cancel."""
        message = messages.ContextCancelled(ctx, "client", 0, 0, "", "hi", 1, -1)
        return self.protocol.send(alias, message)


def codes(received: list[Any]) -> list[str]:
    """Return the codes of the errors and warnings among messages."""
    return [item["code"] for item in received if isinstance(item, dict) and "code" in item]
