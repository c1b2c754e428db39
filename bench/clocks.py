"""The clocks of one utterance, out of its recording; definitions are in bench/README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.decode import make_decoder
from bench.onset import onset_sample
from bench.playout import Piece, Playout, play, sounds_at
from bench.recording import Recording
from bench.repeats import repeated_ms
from engine.types import FloatArray

BUFFERS_MS = (60, 100, 200)
# A point between digits is none; at the end of a token it cannot be known and is taken for one.
_CLAUSE_END = re.compile(r"[。！？…；：，、!?;,\n]|\.(?!\d)")
_HEADER_ONLY_S = 0.001
_LEADING_SILENCE_S = 0.1
_MISSING_S = 0.02  # a frame of the usual size
_REPEATED_MS = 20.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds, None for what did not happen.

    Attributes:
        first_byte_s: From the first text to the first byte of audio, container header or not.
        first_frame_s: ... to the arrival of the bytes that complete the first sample.
        first_audible_s: ... to when the first audible sample sounds if played as it arrives.
        clause_byte_s: From sending the end of the first clause, likewise.
        wall_s: From the first text to the last byte.
        rtf: Time from the last text to the last byte per second of audio; None if cancelled.
        gaps_s: Between messages with audio.
        playouts: By milliseconds of buffer.
        cancel_last_byte_s: From the cancel to the last byte that still came; 0: none did.
        problems: Codes of what is wrong with the audio, see bench/README.md.
    """

    first_byte_s: float | None = None
    first_frame_s: float | None = None
    first_audible_s: float | None = None
    clause_byte_s: float | None = None
    clause_frame_s: float | None = None
    clause_audible_s: float | None = None
    leading_silence_s: float | None = None
    audio_s: float = 0.0
    wall_s: float | None = None
    rtf: float | None = None
    gaps_s: tuple[float, ...] = ()
    playouts: Mapping[int, Playout] = field(default_factory=dict)
    cancel_last_byte_s: float | None = None
    cancel_confirmed_s: float | None = None
    problems: tuple[str, ...] = ()
    error: str = ""


def clause_end_s(texts: Sequence[tuple[float, str]]) -> float:
    """Return when the end of the first clause was sent, or the end of the text without one."""
    whole = "".join(text for _, text in texts)
    match = _CLAUSE_END.search(whole)
    end = match.end() if match else len(whole)
    length = 0
    for at_s, text in texts:
        length += len(text)
        if length >= end:
            return at_s
    return texts[-1][0]


def decode_all(recording: Recording) -> tuple[FloatArray, list[Piece], int]:
    """Return all samples, what arrived with each piece, and the rate in Hz."""
    decoder = make_decoder(recording.format)
    parts = [decoder.feed(arrival.payload) for arrival in recording.arrivals]
    times = [arrival.at_s for arrival in recording.arrivals]
    pieces = [Piece(at_s, len(part)) for at_s, part in zip(times, parts, strict=True)]
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return samples, pieces, decoder.rate_hz


def measure(recording: Recording) -> Clocks:
    """Work out every clock; nothing here was timed while the server was being listened to."""
    texts, arrivals = recording.texts, recording.arrivals
    if not texts:
        return Clocks(problems=_endings(recording) or ("no_text",), error=recording.error)
    samples, pieces, rate_hz = decode_all(recording)
    if not arrivals:
        problems = ("no_audio",) + _endings(recording)
        return Clocks(problems=problems, error=recording.error)
    begun_s, clause_s = texts[0][0], clause_end_s(texts)
    byte_s = arrivals[0].at_s
    frame_s = next((piece.at_s for piece in pieces if piece.num_samples), None)
    onset = onset_sample(samples, rate_hz)
    audible_s = None if onset is None else sounds_at(pieces, rate_hz, onset)
    audio_s = len(samples) / rate_hz
    is_whole = recording.cancelled_s is None and audio_s > 0
    silence_s = None if onset is None else onset / rate_hz
    late_s = recording.late_s

    def since(start_s: float, at_s: float | None) -> float | None:
        return None if at_s is None else at_s - start_s + late_s

    return Clocks(
        first_byte_s=since(begun_s, byte_s),
        first_frame_s=since(begun_s, frame_s),
        first_audible_s=since(begun_s, audible_s),
        clause_byte_s=since(clause_s, byte_s),
        clause_frame_s=since(clause_s, frame_s),
        clause_audible_s=since(clause_s, audible_s),
        leading_silence_s=silence_s,
        audio_s=audio_s,
        wall_s=arrivals[-1].at_s - begun_s,
        rtf=(arrivals[-1].at_s - texts[-1][0]) / audio_s if is_whole else None,
        gaps_s=_gaps(recording),
        playouts={ms: play(pieces, rate_hz, ms / 1000) for ms in BUFFERS_MS},
        cancel_last_byte_s=_after_cancel(recording),
        cancel_confirmed_s=_confirmed(recording),
        problems=_problems(recording, samples, pieces, rate_hz, byte_s, frame_s, silence_s),
        error=recording.error,
    )


def _gaps(recording: Recording) -> tuple[float, ...]:
    times = {arrival.message: arrival.at_s for arrival in recording.arrivals if arrival.payload}
    return tuple(float(gap) for gap in np.diff(list(times.values())))


def _after_cancel(recording: Recording) -> float | None:
    if recording.cancelled_s is None or not recording.hears_after_cancel:
        return None
    return max(0.0, recording.arrivals[-1].at_s - recording.cancelled_s)


def _confirmed(recording: Recording) -> float | None:
    if recording.cancelled_s is None or recording.cancel_confirmed_s is None:
        return None
    return recording.cancel_confirmed_s - recording.cancelled_s


def _endings(recording: Recording) -> tuple[str, ...]:
    if recording.error:
        return ("error",)
    is_open = not recording.is_complete and recording.cancelled_s is None
    return ("incomplete",) if is_open else ()


def _problems(
    recording: Recording,
    samples: FloatArray,
    pieces: Sequence[Piece],
    rate_hz: int,
    byte_s: float,
    frame_s: float | None,
    silence_s: float | None,
) -> tuple[str, ...]:
    found = list(_endings(recording))
    if frame_s is None:
        return (*found, "header_only")
    if frame_s - byte_s > _HEADER_ONLY_S:
        found.append("header_only_first_byte")
    if silence_s is None:
        found.append("silent")
    elif silence_s > _LEADING_SILENCE_S:
        found.append("leading_silence")
    found += _sequence_problems([a.seq for a in recording.arrivals if a.seq is not None])
    if repeated_ms(samples, [piece.num_samples for piece in pieces], rate_hz) >= _REPEATED_MS:
        found.append("repeated_audio")
    declared_s = recording.declared_s
    if declared_s is not None and recording.cancelled_s is None:
        if declared_s - len(samples) / rate_hz > _MISSING_S:
            found.append("missing_audio")
    return tuple(found)


def _sequence_problems(numbers: Sequence[int]) -> list[str]:
    found = []
    if len(set(numbers)) < len(numbers):
        found.append("repeated_packet")
    if numbers and len(set(numbers)) < max(numbers) + 1:
        found.append("missing_packet")
    if any(b < a for a, b in zip(numbers, numbers[1:], strict=False)):
        found.append("packet_order")
    return found
