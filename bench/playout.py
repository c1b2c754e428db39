"""A listener who plays what arrives: when each sample sounds, and when there is nothing to play."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A packet this late is not heard as a gap: below it is the clock's own noise.
_TOLERANCE_S = 0.001


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples that arrived together."""

    at_s: float
    num_samples: int


@dataclass(frozen=True, slots=True)
class Playout:
    """What a listener with one size of buffer heard.

    Attributes:
        started_s: When the first sample sounded; None without audio.
        underruns: Times there was nothing to play before the end.
        stalled_s: How long that was in all.
    """

    started_s: float | None
    underruns: int
    stalled_s: float


def play(pieces: Sequence[Piece], rate_hz: int, buffer_s: float) -> Playout:
    """Play from the moment `buffer_s` of audio is there, or all of it.

    After a gap the next piece is played at once, as it arrives: a gap is counted for every time the
    listener runs dry, and what is added up is silence that was heard.
    """
    started_s = start_time(pieces, rate_hz, buffer_s)
    if started_s is None:
        return Playout(None, 0, 0.0)
    dry_s, underruns, stalled_s = started_s, 0, 0.0
    for piece in pieces:
        if not piece.num_samples:
            continue
        late_s = piece.at_s - dry_s
        if late_s > _TOLERANCE_S:
            underruns += 1
            stalled_s += late_s
        dry_s = max(dry_s, piece.at_s) + piece.num_samples / rate_hz
    return Playout(started_s, underruns, stalled_s)


def start_time(pieces: Sequence[Piece], rate_hz: int, buffer_s: float) -> float | None:
    """Return when a listener who waits for `buffer_s` of audio starts."""
    buffered, last_s = 0, None
    for piece in pieces:
        if not piece.num_samples:
            continue
        last_s = piece.at_s
        buffered += piece.num_samples
        if buffered >= round(buffer_s * rate_hz):
            break
    return last_s


def sounds_at(pieces: Sequence[Piece], rate_hz: int, sample: int) -> float | None:
    """Return when a sample sounds for a listener who buffers nothing; None if it never came."""
    dry_s, first = 0.0, 0
    for piece in pieces:
        begins_s = max(dry_s, piece.at_s)
        if sample < first + piece.num_samples:
            return begins_s + (sample - first) / rate_hz
        first += piece.num_samples
        if piece.num_samples:
            dry_s = begins_s + piece.num_samples / rate_hz
    return None
