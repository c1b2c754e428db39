"""Write a context's packets to a WAV or Ogg Opus file as they arrive.

Ogg Opus holds the packets as they were sent. WAV holds decoded Opus, or the bytes of the other
codecs, which it knows. The length is exact: encoder delay and padding are cut.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Protocol

from clients.errors import Unplayable
from clients.events import CLOCK_HZ, AudioPacket, ContextStarted
from clients.ogg import OggOpusWriter
from clients.opus_decode import OpusDecoder

STDOUT = "-"
_OGG_SUFFIXES = (".opus", ".ogg")
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_WAV_SIZES_AT = (4, 40)
_UNKNOWN_SIZE = 0xFFFFFFFF
# RIFF format tag and bits per sample by codec (RFC 2361).
_WAV_FORMATS = {"opus": (1, 16), "pcm_s16le": (1, 16), "alaw": (6, 8), "mulaw": (7, 8)}


class PacketSink(Protocol):
    """Takes the packets of one context."""

    def add(self, packet: AudioPacket) -> None:
        """Take the next packet."""
        ...

    def close(self, total_samples48: int | None) -> None:
        """Finish; the total is None if the context did not end well."""
        ...


def check_target(target: str, codec: str) -> None:
    """Refuse what cannot be written, before anything is spoken.

    Raises:
        ValueError: Names the target and what is valid.
    """
    suffix = Path(target).suffix.lower()
    if target != STDOUT and suffix not in (".wav", *_OGG_SUFFIXES):
        raise ValueError(f"{target!r} is no audio file, valid: *.wav, *.opus, *.ogg or -")
    if suffix in _OGG_SUFFIXES and codec != "opus":
        raise ValueError(f"{target!r} holds Opus and the codec is {codec}, valid: *.wav or -")


def open_sink(stream: IO[bytes], target: str, started: ContextStarted) -> PacketSink:
    """Return a sink that writes to `stream` in the format that the name `target` says."""
    if Path(target).suffix.lower() in _OGG_SUFFIXES:
        return OggSink(stream, started)
    return WavSink(stream, started)


class SampleStream:
    """Packets to samples (or the codec's bytes) of exact length, one packet late.

    The last packet is held back until it is known how much of it is padding.
    """

    def __init__(self, started: ContextStarted) -> None:
        self._rate_hz = started.rate
        self._width = _WAV_FORMATS[started.codec][1] // 8
        is_opus = started.codec == "opus"
        self._decoder = OpusDecoder(started.rate, started.pre_skip) if is_opus else None
        self._held = b""
        self._num_bytes = 0  # handed out

    def add(self, packet: AudioPacket) -> bytes:
        """Return what is certain to be audio after this packet."""
        data = packet.payload
        if not data:
            return b""  # carries a mark only
        if self._decoder is not None:
            data = self._decoder.decode(data)
        ready, self._held = self._held, data
        self._num_bytes += len(ready)
        return ready

    def finish(self, total_samples48: int | None) -> bytes:
        """Return the rest, cut to the total if that is known."""
        if total_samples48 is None:
            return self._held
        total = total_samples48 * self._rate_hz // CLOCK_HZ * self._width
        return self._held[: max(0, total - self._num_bytes)]


class OggSink:
    """Writes Ogg Opus, two packets to a page: hardly any overhead, hardly any delay."""

    def __init__(self, stream: IO[bytes], started: ContextStarted) -> None:
        self._stream = stream
        self._writer = OggOpusWriter(
            pre_skip48=started.pre_skip, input_hz=started.rate, max_packets=2
        )
        self._pre_skip48 = started.pre_skip
        self._end48 = 0

    def add(self, packet: AudioPacket) -> None:
        """Take the next packet."""
        if packet.payload:
            self._end48 = packet.pts + packet.duration
            self._stream.write(self._writer.add(packet.payload, packet.duration))

    def close(self, total_samples48: int | None) -> None:
        """Write the last page."""
        total = self._end48 - self._pre_skip48 if total_samples48 is None else total_samples48
        self._stream.write(self._writer.finish(total))
        self._stream.flush()


class WavSink:
    """Writes WAV; on a stream that cannot seek the sizes stay "unknown", as players accept."""

    def __init__(self, stream: IO[bytes], started: ContextStarted) -> None:
        if started.codec not in _WAV_FORMATS:
            raise Unplayable(f"codec {started.codec} is unknown, valid: {', '.join(_WAV_FORMATS)}")
        self._stream = stream
        self._samples = SampleStream(started)
        self._num_bytes = 0
        tag, bits = _WAV_FORMATS[started.codec]
        width = bits // 8
        header = (b"RIFF", _UNKNOWN_SIZE, b"WAVE", b"fmt ", 16, tag, 1)
        rates = (started.rate, started.rate * width, width, bits)
        stream.write(_WAV_HEADER.pack(*header, *rates, b"data", _UNKNOWN_SIZE))

    def add(self, packet: AudioPacket) -> None:
        """Take the next packet."""
        self._write(self._samples.add(packet))

    def close(self, total_samples48: int | None) -> None:
        """Write the rest and, where possible, the sizes."""
        self._write(self._samples.finish(total_samples48))
        if self._stream.seekable():
            if self._num_bytes % 2:
                self._stream.write(b"\0")  # chunks have even length
            data_at = _WAV_HEADER.size - 8
            sizes = (data_at + self._num_bytes + self._num_bytes % 2, self._num_bytes)
            for at, size in zip(_WAV_SIZES_AT, sizes, strict=True):
                self._stream.seek(at)
                self._stream.write(size.to_bytes(4, "little"))
        self._stream.flush()

    def _write(self, data: bytes) -> None:
        self._num_bytes += len(data)
        self._stream.write(data)
