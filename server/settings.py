"""How a context is spoken and delivered, as the wire names it.

One dataclass serves the server's defaults, a session's and a context's: `session.update`,
`context.open` and `update` carry patches of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from server.errors import ClientError
from server.wire import Length, Patch, Range, merged, patched

Codec = Literal["opus", "pcm_s16le", "mulaw", "alaw"]
Timing = Literal["char", "word", "phoneme", "viseme", "rms"]

SAMPLE_RATES_HZ: dict[str, tuple[int, ...]] = {
    "opus": (8000, 12000, 16000, 24000, 48000),  # RFC 6716: no others exist
    "pcm_s16le": (8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "mulaw": (8000,),  # ITU-T G.711
    "alaw": (8000,),
}
_USUAL_RATE_HZ = {"opus": 24000, "pcm_s16le": 24000, "mulaw": 8000, "alaw": 8000}
Id = Annotated[str, Length(1, 64)]


@dataclass(frozen=True, slots=True)
class Format:
    """The audio on the wire."""

    codec: Codec = "opus"
    rate: int = 24000
    frame_ms: Literal[10, 20, 40, 60] = 20
    bitrate: Annotated[int, Range(6000, 256000)] = 32000  # bit/s, Opus only


@dataclass(frozen=True, slots=True)
class Chunking:
    """When buffered text becomes a sentence. Weights count a CJK character as 2."""

    auto: bool = False  # the caller sends whole phrases: each text message is a sentence
    schedule: tuple[Annotated[int, Range(1, 500)], ...] = (8, 24)
    first_chunk_max_wait_ms: Annotated[int, Range(0, 5000)] = 250
    idle_flush_ms: Annotated[int, Range(50, 30000)] = 1500


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a client may choose."""

    voice: Id = "default"
    style: Id = "default"
    lang: Literal["zh", "en", "ja", "ko", "yue", "auto"] = "auto"
    digits: Literal["auto", "read", "cardinal"] | None = None  # None: as the server is set
    speed: Annotated[float, Range(0.5, 2.0)] = 1.0
    # None of these four: as the model was made for, see `server.speech`.
    top_k: Annotated[int, Range(1, 1025)] | None = None
    top_p: Annotated[float, Range(0.01, 1.0)] | None = None
    temperature: Annotated[float, Range(0.01, 2.0)] | None = None
    repetition_penalty: Annotated[float, Range(1.0, 2.0)] | None = None
    noise_scale: Annotated[float, Range(0.0, 1.0)] = 0.5
    mode: Literal["exact", "balanced", "fast"] = "balanced"
    # What a sentence may begin with; None: 60, and in exact mode, as at 2000, all there is.
    leading_silence_ms: Annotated[int, Range(0, 2000)] | None = None
    # 2**53 - 1: a JSON number that JavaScript clients can hold.
    seed: Annotated[int, Range(0, 2**53 - 1)] | None = None  # None: a new one per context
    profile: Literal["vtuber", "callbot", "bench"] | None = None  # a set of the fields below
    sample_rate: int | None = None  # a short form of format.rate
    format: Format = field(default_factory=Format)
    framing: Literal["h16", "raw"] = "h16"
    timings: tuple[Timing, ...] = ()
    timing_mode: Literal["sync", "async"] = "async"
    lead_ms: Annotated[int, Range(0, 60000)] = 2000  # 0: as fast as it is made
    chunking: Chunking = field(default_factory=Chunking)
    priority: Literal["telephony", "live", "batch"] = "live"

    @property
    def is_realtime(self) -> bool:
        """True if somebody listens while it is made, False for files."""
        return self.lead_ms > 0 and self.priority != "batch"


PROFILES: Mapping[str, Patch] = {
    "vtuber": {
        "format": {"codec": "opus", "rate": 48000, "bitrate": 64000},
        "lead_ms": 800,
        "timings": ("char", "viseme", "rms"),
    },
    "callbot": {
        "format": {"codec": "mulaw", "rate": 8000, "frame_ms": 20},  # 160 bytes, an RTP packet
        "lead_ms": 400,
        "digits": "read",
        "priority": "telephony",
    },
    "bench": {
        "format": {"codec": "pcm_s16le", "rate": 24000},
        "lead_ms": 0,
        "seed": 0,
    },
}
UPDATABLE = frozenset({"speed", "style", "voice"})  # may change between two sentences


def apply(settings: Settings, patch: Patch) -> Settings:
    """Return `settings` with `patch`, its short forms resolved and the format possible.

    A profile comes first, whatever else the patch gives over it.

    Raises:
        ClientError: unsupported_format, naming codec, rate and what is valid.
    """
    profile = patch.get("profile")
    changes = merged(PROFILES[profile], patch) if profile else dict(patch)
    audio: Patch = dict(changes.get("format", {}))
    if "sample_rate" in changes:
        audio.setdefault("rate", changes["sample_rate"])
    codec = audio.get("codec", settings.format.codec)
    if "rate" not in audio and settings.format.rate not in SAMPLE_RATES_HZ[codec]:
        audio["rate"] = _USUAL_RATE_HZ[codec]
    if audio:
        changes["format"] = audio
    changed = patched(settings, changes)
    check_format(changed.format)
    return replace(changed, sample_rate=changed.format.rate)


def check_format(audio: Format) -> None:
    """Raise ClientError (unsupported_format) for a rate the codec does not have."""
    valid = SAMPLE_RATES_HZ[audio.codec]
    if audio.rate not in valid:
        rates = ", ".join(map(str, valid))
        message = f"format.rate is {audio.rate} for {audio.codec}, valid: {rates}"
        raise ClientError("unsupported_format", message)
