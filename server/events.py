"""What the protocol tells its session to do; contexts are named by their alias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from server.settings import Settings


@dataclass(frozen=True, slots=True)
class ContextOpened:
    """Start an utterance."""

    alias: int
    ctx: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class TextAppended:
    """More text of an utterance; complete characters, control characters blanked."""

    alias: int
    text: str


@dataclass(frozen=True, slots=True)
class FlushRequested:
    """Speak what is buffered."""

    alias: int
    id: str | int | None


@dataclass(frozen=True, slots=True)
class TextEnded:
    """No more text follows."""

    alias: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Stop the utterance and answer with `context.cancelled`."""

    alias: int
    reason: str
    played_ms: float | None = None
    fade_ms: float | None = None


@dataclass(frozen=True, slots=True)
class PlaybackAcked:
    """The client's playhead."""

    alias: int
    played_ms: float | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class SettingsUpdated:
    """Speed, style or voice of the next sentences."""

    alias: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """The client wants an earlier session's contexts back."""

    token: str
    last: dict[str, int]


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The client wants the session to end; with "drain" after its contexts."""

    mode: Literal["drain", "now"]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the socket with this code once everything queued is sent."""

    close_code: int
    reason: str


Event: TypeAlias = (
    ContextOpened
    | TextAppended
    | FlushRequested
    | TextEnded
    | CancelRequested
    | PlaybackAcked
    | SettingsUpdated
    | ResumeRequested
    | CloseRequested
    | Disconnect
)
