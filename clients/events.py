"""What a session tells a client: the JSON messages and audio packets of `sovits.tts.v1`, typed.

Written from the protocol, not shared with the server: two implementations check each other.
Messages and fields this client does not know are ignored, as the protocol asks.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeAlias

from clients.errors import BadMessage

SUBPROTOCOL = "sovits.tts.v1"
PATH = "/v1/tts/ws"
CLOCK_HZ = 48000  # of every pts, duration and total, whatever the codec's rate

_HEADER = struct.Struct(">BBHIIHH")
_HEADER_VERSION = 1
FIRST, LAST, SEG_START, SILENCE, BATCH, DISCONT, REPLAY = (1 << bit for bit in range(7))


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is open."""

    session_id: str
    server: str = ""
    model: str = ""
    version: str = ""
    voices: Sequence[str] = ()
    features: Sequence[str] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""  # such as "random weights, no speech"
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """The session goes on over this socket; what was missed follows."""

    session_id: str
    contexts: Sequence[str] = ()
    received: Mapping[str, int] = field(default_factory=dict)  # characters that arrived, by context
    ended: Sequence[str] = ()  # contexts whose end arrived


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The defaults now in force."""

    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ContextStarted:
    """A context exists; what is needed to decode its packets."""

    ctx: str
    alias: int
    codec: str
    rate: int
    frame_ms: int = 20
    pre_skip: int = 0  # 48 kHz samples to drop from the start of decoded Opus
    voice: str = ""
    seed: int = 0
    queue_ms: int = 0


@dataclass(frozen=True, slots=True)
class SegmentStarted:
    """A sentence begins at `pts`: a subtitle line."""

    ctx: str
    seg: int
    text: str
    pts: int
    start: int = 0  # character offsets in the text that was sent
    end: int = 0
    pause_ms: int = 0  # silence that is part of its audio, at the end
    norm: str = ""
    trimmed_ms: int = 0  # leading silence the server left out


@dataclass(frozen=True, slots=True)
class Timing:
    """When the parts of a sentence sound; see the protocol for the rows."""

    ctx: str
    seg: int
    pts: int
    chars: Sequence[Sequence[int]] = ()
    words: Sequence[Sequence[int]] = ()
    phonemes: Sequence[Sequence[Any]] = ()
    visemes: Sequence[Sequence[Any]] = ()
    rms: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """All audio of a sentence was sent."""

    ctx: str
    seg: int
    pts_end: int = 0


@dataclass(frozen=True, slots=True)
class FlushDone:
    """All audio of the text before a flush was sent."""

    ctx: str
    pts_end: int = 0
    id: str | int | None = None


@dataclass(frozen=True, slots=True)
class ContextDone:
    """Everything of a context was sent. Cut what was decoded to `total_samples48`."""

    ctx: str
    total_samples48: int
    packets: int = 0
    usage: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContextCancelled:
    """A context was stopped; no packet of it follows."""

    ctx: str
    reason: str = ""
    sent_ms: int = 0
    played_ms: int = 0
    text_spoken: str = ""
    text_remaining: str = ""
    stop_ms: int = 0
    last_seq: int = -1


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to know that changes nothing."""

    code: str
    detail: str = ""
    ctx: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something was refused; if `fatal`, the context (or without `ctx` the session) is over."""

    code: str
    message: str = ""
    status: int = 500
    retryable: bool = False
    fatal: bool = False
    ctx: str = ""
    retry_after_ms: int | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The server stops; it takes no new contexts."""

    deadline_ms: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    t: float | str | None = None
    server_t: int = 0


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One packet of the codec; times are 48 kHz samples since the context started."""

    payload: bytes
    seq: int
    pts: int
    duration: int
    seg: int
    flags: int = 0

    @property
    def is_last(self) -> bool:
        """True for the last one of the context."""
        return bool(self.flags & LAST)


Message: TypeAlias = (
    Ready
    | SessionResumed
    | SessionUpdated
    | ContextStarted
    | SegmentStarted
    | Timing
    | SegmentDone
    | FlushDone
    | ContextDone
    | ContextCancelled
    | Warned
    | Failed
    | GoingAway
    | Pong
)
Event: TypeAlias = Message | AudioPacket

MESSAGE_TYPES: Mapping[str, type[Any]] = {
    "ready": Ready,
    "session.resumed": SessionResumed,
    "session.updated": SessionUpdated,
    "context.started": ContextStarted,
    "segment.started": SegmentStarted,
    "timing": Timing,
    "segment.done": SegmentDone,
    "flush.done": FlushDone,
    "context.done": ContextDone,
    "context.cancelled": ContextCancelled,
    "warning": Warned,
    "error": Failed,
    "going_away": GoingAway,
    "pong": Pong,
}


def parse_message(data: str) -> Message | None:
    """Return the message in a text frame, None for a type this client does not know.

    Raises:
        BadMessage: If it is not a message of the protocol.
    """
    try:
        parsed = json.loads(data)
        kind = parsed["type"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadMessage(f"the server sent no message: {data[:80]!r}") from error
    cls = MESSAGE_TYPES.get(kind)
    if cls is None:
        return None
    values = {f.name: parsed[f.name] for f in fields(cls) if parsed.get(f.name) is not None}
    missing = [
        f.name
        for f in fields(cls)
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise BadMessage(f"the server's {kind} has no {', '.join(missing)}")
    message: Message = cls(**values)
    return message


def parse_audio(data: bytes) -> tuple[int, list[AudioPacket]]:
    """Return the alias of the context and the packets in a binary frame.

    Raises:
        BadMessage: If it is not an `h16` frame.
    """
    if len(data) < _HEADER.size:
        raise BadMessage(f"the server sent a binary frame of {len(data)} bytes")
    version, flags, alias, seq, pts, duration, seg = _HEADER.unpack_from(data)
    if version != _HEADER_VERSION:
        raise BadMessage(f"the server sent a binary frame of version {version}")
    payload = data[_HEADER.size :]
    if not flags & BATCH:
        return alias, [AudioPacket(payload, seq, pts, duration, seg, flags)]
    payloads = _split_batch(payload)
    count = len(payloads)
    packets = []
    for i, part in enumerate(payloads):
        start, end = duration * i // count, duration * (i + 1) // count
        own = flags & ~(BATCH | (FIRST | SEG_START if i else 0) | (LAST if i < count - 1 else 0))
        packets.append(AudioPacket(part, seq + i, pts + start, end - start, seg, own))
    return alias, packets


def _split_batch(payload: bytes) -> list[bytes]:
    parts = []
    while payload:
        length = int.from_bytes(payload[:2], "big")
        part, payload = payload[2 : 2 + length], payload[2 + length :]
        if len(part) != length:
            raise BadMessage("the server sent a batch that is cut short")
        parts.append(part)
    if not parts:
        raise BadMessage("the server sent an empty batch")
    return parts
