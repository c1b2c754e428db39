"""What a server may decide about its dialects; a section of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from server.wire import Length, Range

# Clients that check the name before they send it know only these.
OPENAI_VOICES = (
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
)


@dataclass(frozen=True, slots=True)
class DialectsSection:
    """How other services' clients are answered."""

    enabled: bool = True
    # Another service's voice name -> one of ours, "anna" or "anna:happy".
    voice_aliases: dict[str, Annotated[str, Length(1, 129)]] = field(default_factory=dict)
    unknown_voice: Literal["refuse", "default"] = "refuse"
    # Formats that cannot be made here (AAC): an Ogg Opus answer that says so, or HTTP 400.
    missing_format: Literal["ogg", "refuse"] = "ogg"
    lead_ms: Annotated[int, Range(0, 60_000)] = 30_000  # these clients buffer themselves
    # What ElevenLabs alignments count from; "auto" is the chunk, or as sync_alignment says.
    alignment_base: Literal["auto", "chunk", "context"] = "auto"
    wyoming_port: Annotated[int, Range(0, 65535)] | None = None  # its own port; none: off
    wyoming_host: Annotated[str, Length(1, 255)] = "127.0.0.1"
