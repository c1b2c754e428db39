"""The messages of `sovits.tts.v1` as dataclasses, and their JSON form.

Client messages are decoded strictly (unknown fields ignored, wrong values refused by name), server
messages are encoded with absent fields left out. Audio is not JSON: see `server.frames`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeAlias, get_args

from server.errors import ClientError
from server.settings import UPDATABLE, Id, Settings
from server.wire import Length, Patch, Range, WireError, decode, decode_patch, encode

MAX_JSON_DEPTH = 8
PROTOCOL = "sovits.tts.v1"

Milliseconds = Annotated[float, Range(0, 86_400_000)]  # a day: longer than any session
# What a JavaScript clock or counter gives, or a short label.
Stamp: TypeAlias = (
    Annotated[int, Range(-(2**53), 2**53)]
    | Annotated[float, Range(-(2**53), 2**53)]
    | Annotated[str, Length(0, 64)]
)
Count = Annotated[int, Range(0, 2**32 - 1)]

# --- client to server -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """Change what later contexts of this session start from."""

    TYPE: ClassVar[str] = "session.update"
    defaults: Patch  # of Settings


@dataclass(frozen=True, slots=True)
class ContextOpen:
    """Open a context; optional, its first text does it too."""

    TYPE: ClassVar[str] = "context.open"
    ctx: Id
    resume_ok: bool = False
    preempt: Literal[False, "fade", "now"] = False  # cancel the other contexts
    overrides: Patch = field(default_factory=dict)  # of Settings; on the wire beside `ctx`


@dataclass(frozen=True, slots=True)
class Text:
    """Append text, exactly as it is."""

    TYPE: ClassVar[str] = "text"
    ctx: Id
    text: str
    flush: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Flush:
    """Speak what is buffered without waiting for a boundary."""

    TYPE: ClassVar[str] = "flush"
    ctx: Id
    id: Annotated[str, Length(1, 64)] | Count | None = None


@dataclass(frozen=True, slots=True)
class End:
    """No more text; finish."""

    TYPE: ClassVar[str] = "end"
    ctx: Id


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop at once (barge-in); `ctx` "*" means all."""

    TYPE: ClassVar[str] = "cancel"
    ctx: Id
    played_ms: Milliseconds | None = None
    fade_ms: Milliseconds | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """How far playback is."""

    TYPE: ClassVar[str] = "ack"
    ctx: Id
    played_ms: Milliseconds | None = None
    seq: Count | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Change how the next sentences of a context are spoken."""

    TYPE: ClassVar[str] = "update"
    ctx: Id
    changes: Patch = field(default_factory=dict)  # speed, style, voice; on the wire beside `ctx`


@dataclass(frozen=True, slots=True)
class SessionResume:
    """Take up a broken session after the last packets received."""

    TYPE: ClassVar[str] = "session.resume"
    token: Annotated[str, Length(1, 256)]
    last: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Keep the session alive; the answer carries the same `t`."""

    TYPE: ClassVar[str] = "ping"
    t: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """End the session, after its contexts or at once."""

    TYPE: ClassVar[str] = "close"
    mode: Literal["drain", "now"] = "drain"


ClientMessage: TypeAlias = (
    SessionUpdate
    | ContextOpen
    | Text
    | Flush
    | End
    | Cancel
    | Ack
    | Update
    | SessionResume
    | Ping
    | Close
)
CLIENT_TYPES: dict[str, type[Any]] = {cls.TYPE: cls for cls in get_args(ClientMessage)}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type this server does not know; answered with a warning."""

    type: str


# --- server to client -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedLimits:
    """The limits a client should know, in `ready`."""

    max_contexts: int
    max_text_bytes: int
    max_buffer_chars: int
    max_session_chars: int
    idle_timeout_s: float
    session_ttl_s: float
    lead_ms_max: int
    write_stall_s: float
    msgs_per_s: int
    first_message_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the server is."""

    slots_free: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is open."""

    TYPE: ClassVar[str] = "ready"
    session_id: str
    server: str
    model: str
    version: str
    limits: PublishedLimits
    load: Load
    sample_rate: int  # the model's own
    features: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    notice: str | None = None  # "random weights, no speech"
    resume_token: str | None = None


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The defaults now in force."""

    TYPE: ClassVar[str] = "session.updated"
    defaults: Settings


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """The session goes on over this socket; what was missed follows.

    What a client sent while the old socket broke may not have come: `received` counts each
    context's characters that did, `ended` names those whose end did.
    """

    TYPE: ClassVar[str] = "session.resumed"
    session_id: str
    contexts: tuple[str, ...]
    received: dict[str, int] = field(default_factory=dict)
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextStarted:
    """A context exists; everything needed to decode its packets."""

    TYPE: ClassVar[str] = "context.started"
    ctx: str
    alias: int  # names the context in binary frames
    codec: str
    rate: int
    frame_ms: int
    pre_skip: int  # samples at 48 kHz to drop from the decoder's output
    voice: str
    style: str
    lang: str
    speed: float
    seed: int
    lead_ms: int
    queue_ms: int = 0


@dataclass(frozen=True, slots=True)
class SegmentStarted:
    """A sentence begins at `pts`."""

    TYPE: ClassVar[str] = "segment.started"
    ctx: str
    seg: int
    text: str
    pts: int  # 48 kHz samples since the context started
    start: int  # character offsets in the context's text
    end: int
    pause_ms: int = 0  # silence that is part of the sentence's audio, at its end
    norm: str | None = None
    trimmed_ms: int = 0  # leading silence left out; audio = tokens * 40 - trimmed_ms + pause_ms


@dataclass(frozen=True, slots=True)
class TimingEvent:
    """When the parts of a sentence sound; times from the start of the context, in ms.

    Each char, word and phoneme is [start offset, end offset, t0, t1] with offsets into the
    context's text; phonemes have their name in front. Visemes are [id, t]; rms is dBFS per 20 ms.
    """

    TYPE: ClassVar[str] = "timing"
    ctx: str
    seg: int
    pts: int
    chars: tuple[tuple[int, int, int, int], ...] | None = None
    words: tuple[tuple[int, int, int, int], ...] | None = None
    phonemes: tuple[tuple[str, int, int, int, int], ...] | None = None
    visemes: tuple[tuple[str, int], ...] | None = None
    rms: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """All audio of a sentence has been sent."""

    TYPE: ClassVar[str] = "segment.done"
    ctx: str
    seg: int
    pts_end: int
    tokens: int = 0  # semantic tokens, 40 ms each at speed 1, less the segment's trimmed_ms


@dataclass(frozen=True, slots=True)
class FlushDone:
    """All audio of the text before a flush has been sent."""

    TYPE: ClassVar[str] = "flush.done"
    ctx: str
    pts_end: int
    id: str | int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a context cost."""

    chars: int
    audio_ms: int
    engine_ms: int | None = None  # the networks' time, its share of every batch


@dataclass(frozen=True, slots=True)
class Timings:
    """How fast a context was served."""

    ttfa_ms: int  # first text received to first packet written
    queue_ms: int
    rtf: float  # time its sentences were in the engine / seconds of audio; < 1 keeps up
    underruns_est: int


@dataclass(frozen=True, slots=True)
class ContextDone:
    """Everything of a context has been sent."""

    TYPE: ClassVar[str] = "context.done"
    ctx: str
    total_samples48: int  # exact length at 48 kHz, after pre-skip and without the tail padding
    packets: int
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class ContextCancelled:
    """A context was stopped; no binary frame of it follows."""

    TYPE: ClassVar[str] = "context.cancelled"
    ctx: str
    reason: str  # client, preempted
    sent_ms: int
    played_ms: int
    text_spoken: str
    text_remaining: str
    stop_ms: int  # cancel received to synthesis stopped
    last_seq: int  # -1: no packet was sent
    fade_ms: int | None = None


@dataclass(frozen=True, slots=True)
class WarningMessage:
    """Something to know that changes nothing."""

    TYPE: ClassVar[str] = "warning"
    code: str
    detail: str
    ctx: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Something failed: a message, or with `fatal` the context or (without `ctx`) the session."""

    TYPE: ClassVar[str] = "error"
    code: str
    status: int
    message: str
    retryable: bool
    request_id: str
    fatal: bool = False
    ctx: str | None = None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The server drains; no new contexts."""

    TYPE: ClassVar[str] = "going_away"
    deadline_ms: int
    reason: str = "drain"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping; `server_t` is the server's Unix time in ms."""

    TYPE: ClassVar[str] = "pong"
    server_t: int
    t: Stamp | None = None


ServerMessage: TypeAlias = (
    Ready
    | SessionUpdated
    | SessionResumed
    | ContextStarted
    | SegmentStarted
    | TimingEvent
    | SegmentDone
    | FlushDone
    | ContextDone
    | ContextCancelled
    | WarningMessage
    | ErrorMessage
    | GoingAway
    | Pong
)

# --- JSON -----------------------------------------------------------------------------------------


def encode_message(message: ServerMessage) -> str:
    """Return the JSON text of a server message."""
    # ASCII only: a lone surrogate from a client's text stays representable.
    return json.dumps({"type": message.TYPE, **encode(message)}, separators=(",", ":"))


def decode_message(data: str) -> ClientMessage | Unknown:
    """Return the message a client sent.

    Raises:
        ClientError: bad_json, or bad_message naming field, value and what is valid.
    """
    parsed = _parse(data)
    kind = parsed.get("type")
    if not isinstance(kind, str):
        valid = ", ".join(CLIENT_TYPES)
        raise ClientError("bad_message", f"type is {kind!r:.80}, valid: {valid}")
    cls = CLIENT_TYPES.get(kind)
    if cls is None:
        return Unknown(kind)
    ctx = parsed.get("ctx")
    known_ctx = ctx if isinstance(ctx, str) and 1 <= len(ctx) <= 64 else None
    try:
        return _decode_known(cls, parsed)
    except WireError as error:
        code = "unsupported_lang" if error.path.endswith("lang") else "bad_message"
        raise ClientError(code, str(error), ctx=known_ctx) from None


def _decode_known(cls: type[Any], parsed: Mapping[str, object]) -> ClientMessage:
    if cls is SessionUpdate:
        return SessionUpdate(decode_patch(Settings, parsed.get("defaults") or {}, "defaults"))
    # Settings stand beside `ctx`; the fields that hold them here are not on the wire.
    on_wire = {k: v for k, v in parsed.items() if k not in ("overrides", "changes")}
    message: ClientMessage = decode(cls, on_wire)
    if isinstance(message, ContextOpen):
        message = replace(message, overrides=decode_patch(Settings, on_wire))
    elif isinstance(message, Update):
        patch = decode_patch(Settings, on_wire)
        changes = {name: value for name, value in patch.items() if name in UPDATABLE}
        message = replace(message, changes=changes)
    ctx = getattr(message, "ctx", None)
    if ctx is not None:
        _check_ctx(ctx, may_be_all=cls is Cancel)
    return message


def _check_ctx(ctx: str, *, may_be_all: bool) -> None:
    valid = "1 to 64 characters, none of them a control character"
    # Cc, Cf, Cs, Zl, Zp: what could forge a log line or cannot be encoded.
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in ctx):
        raise WireError("ctx", ctx, valid)
    if ctx == "*" and not may_be_all:
        raise WireError("ctx", ctx, f"{valid}, and not * here")


def _parse(data: str) -> dict[str, object]:
    try:
        parsed = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ClientError("bad_json", f"not JSON: {error!s:.120}") from None
    if not isinstance(parsed, dict):
        raise ClientError("bad_message", f"message is {parsed!r:.80}, valid: an object")
    if _is_deeper(parsed, MAX_JSON_DEPTH):
        raise ClientError("bad_json", f"nested deeper than {MAX_JSON_DEPTH} levels")
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_deeper(value: object, depth: int) -> bool:
    """Return True if `value` has containers nested more than `depth` levels."""
    level = [value]
    for _ in range(depth):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
