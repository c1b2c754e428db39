"""Streams of packets as files: WAV, Ogg Opus, MP3, FLAC, or bare.

Made to be sent while it is spoken: what a format wants in its header about the end (sizes) is
either left open or, with `is_whole`, known.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import soundfile

from clients.ogg import OggOpusWriter
from server.frames import AudioPacket
from server.messages import ContextDone, ContextStarted
from server.settings import Format

_UNKNOWN = 0xFFFFFFFF  # the size of a WAV that is still being made
_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
# Codec -> format tag and bytes per sample (mmreg.h: PCM, ALAW, MULAW).
_WAV_CODECS = {"pcm_s16le": (1, 2), "alaw": (6, 1), "mulaw": (7, 1)}
_INT16_FULL_SCALE = 32767
_SERIAL = 1
_MAX_LEVEL = 0.99  # libsndfile 1.2.2 fails at 1.0
_MP3_RATES_HZ = (44100, 48000, 32000)
_MP3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class ContainerKind(StrEnum):
    """The containers there are."""

    RAW = "raw"
    FLOAT = "float"  # bare 32-bit floats
    WAV = "wav"
    OGG = "ogg"
    MP3 = "mp3"
    FLAC = "flac"


class Container(Protocol):
    """Turns one context into one file; every method returns the bytes that are ready."""

    def start(self, started: ContextStarted) -> bytes:
        """Begin."""
        ...

    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """Append packets."""
        ...

    def finish(self, done: ContextDone) -> bytes:
        """End."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """What a client asked for.

    Attributes:
        audio: The codec inside.
        content_type: Of the HTTP answer.
        bitrate: MP3 only, bits per second.
    """

    kind: ContainerKind
    audio: Format
    content_type: str
    bitrate: int = 0


def raw_target(audio: Format) -> Target:
    """Return the target of bare audio."""
    if audio.codec == "pcm_s16le":
        return Target(ContainerKind.RAW, audio, f"audio/pcm;rate={audio.rate};channels=1")
    names = {"mulaw": "audio/basic", "alaw": "audio/x-alaw-basic", "opus": "audio/opus"}
    return Target(ContainerKind.RAW, audio, names[audio.codec])


def pcm(rate_hz: int) -> Format:
    """Return 16-bit PCM of a rate, in packets of 20 ms."""
    return Format(codec="pcm_s16le", rate=rate_hz)


def float_target(rate_hz: int) -> Target:
    """Return the target of bare 32-bit floats, little-endian."""
    return Target(ContainerKind.FLOAT, pcm(rate_hz), f"audio/pcm;rate={rate_hz};encoding=float")


def wav_target(rate_hz: int) -> Target:
    """Return the target of a WAV file of 16-bit PCM."""
    return Target(ContainerKind.WAV, pcm(rate_hz), "audio/wav")


def wav_g711_target(audio: Format) -> Target:
    """Return the target of a WAV file of mu-law or A-law."""
    return Target(ContainerKind.WAV, audio, "audio/wav")


def ogg_target(rate_hz: int = 48000, bitrate: int = 64000) -> Target:
    """Return the target of Ogg Opus."""
    audio = Format(codec="opus", rate=rate_hz, bitrate=bitrate)
    return Target(ContainerKind.OGG, audio, "audio/ogg")


def mp3_target(rate_hz: int, bitrate: int) -> Target:
    """Return the target of an MP3 file."""
    return Target(ContainerKind.MP3, pcm(rate_hz), "audio/mpeg", bitrate)


def flac_target(rate_hz: int) -> Target:
    """Return the target of a FLAC file."""
    return Target(ContainerKind.FLAC, pcm(rate_hz), "audio/flac")


def make_container(target: Target, *, is_whole: bool = False) -> Container:
    """Return a container for one context.

    Args:
        is_whole: Nothing is sent before all is made, so that sizes can be right.
    """
    match target.kind:
        case ContainerKind.WAV:
            return _Wav(target.audio, is_whole=is_whole)
        case ContainerKind.OGG:
            return _Ogg()
        case ContainerKind.FLOAT:
            return _Float()
        case ContainerKind.MP3 | ContainerKind.FLAC:
            return _Encoded(target, is_whole=is_whole)
        case _:
            return _Raw()


def wav_header(audio: Format, num_bytes: int | None = None) -> bytes:
    """Return the header of a mono WAV; without a size it is one that never ends."""
    data = _UNKNOWN if num_bytes is None else num_bytes
    riff = _UNKNOWN if num_bytes is None else num_bytes + _WAV.size - 8
    tag, size = _WAV_CODECS[audio.codec]
    form = (b"fmt ", 16, tag, 1, audio.rate, audio.rate * size, size, 8 * size)
    return _WAV.pack(b"RIFF", riff, b"WAVE", *form, b"data", data)


class _Raw:
    def start(self, started: ContextStarted) -> bytes:
        """See Container."""
        del started
        return b""

    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """See Container."""
        return b"".join(packet.payload for packet in packets)

    def finish(self, done: ContextDone) -> bytes:
        """See Container."""
        del done
        return b""


class _Float(_Raw):
    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """See Container."""
        samples = np.frombuffer(super().add(packets), "<i2").astype("<f4")
        return (samples / np.float32(_INT16_FULL_SCALE)).tobytes()


class _Wav:
    def __init__(self, audio: Format, *, is_whole: bool) -> None:
        self._audio = audio
        self._kept: list[bytes] | None = [] if is_whole else None

    def start(self, started: ContextStarted) -> bytes:
        """See Container."""
        del started
        return wav_header(self._audio) if self._kept is None else b""

    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """See Container."""
        data = b"".join(packet.payload for packet in packets)
        if self._kept is None:
            return data
        self._kept.append(data)
        return b""

    def finish(self, done: ContextDone) -> bytes:
        """See Container."""
        del done
        if self._kept is None:
            return b""
        data = b"".join(self._kept)
        return wav_header(self._audio, len(data)) + data


class _Ogg:
    def __init__(self) -> None:
        self._writer = OggOpusWriter(pre_skip48=0)

    def start(self, started: ContextStarted) -> bytes:
        """See Container."""
        self._writer = OggOpusWriter(
            pre_skip48=started.pre_skip, input_hz=started.rate, serial=_SERIAL
        )
        return b""

    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """See Container."""
        return b"".join(self._writer.add(p.payload, p.duration) for p in packets if p.payload)

    def finish(self, done: ContextDone) -> bytes:
        """See Container."""
        return self._writer.finish(done.total_samples48)


class _Encoded:
    """MP3 and FLAC by libsndfile, which writes as it goes and mends its header at the end."""

    def __init__(self, target: Target, *, is_whole: bool) -> None:
        is_mp3 = target.kind is ContainerKind.MP3
        self._out: _Forward | io.BytesIO = io.BytesIO() if is_whole else _Forward(drops_tag=is_mp3)
        options = {}
        if is_mp3 and target.bitrate:
            level = mp3_level(target.audio.rate, target.bitrate)
            options = {"compression_level": level, "bitrate_mode": "CONSTANT"}
        name = target.kind.value.upper()
        self._file = soundfile.SoundFile(
            self._out, "w", target.audio.rate, 1, format=name, **options
        )

    def start(self, started: ContextStarted) -> bytes:
        """See Container."""
        del started
        return b""

    def add(self, packets: Sequence[AudioPacket]) -> bytes:
        """See Container."""
        data = b"".join(packet.payload for packet in packets)
        self._file.write(np.frombuffer(data, "<i2"))
        return self._out.take() if isinstance(self._out, _Forward) else b""

    def finish(self, done: ContextDone) -> bytes:
        """See Container."""
        del done
        self._file.close()
        return self._out.take() if isinstance(self._out, _Forward) else self._out.getvalue()


class _Forward(io.RawIOBase):
    """A file that can only grow: what is written back into its beginning has been sent already.

    Args:
        drops_tag: Leave out LAME's first frame, zeros until the end is known and then the length:
            nobody fills it in here, and it would play as a moment of silence.
    """

    def __init__(self, *, drops_tag: bool) -> None:
        self._drops_tag = drops_tag
        self._ready = bytearray()
        self._position = 0
        self._end = 0

    def take(self) -> bytes:
        """Return what was appended since the last call and may be sent."""
        if self._drops_tag:
            if len(self._ready) < 4 or len(self._ready) < mp3_frame_bytes(self._ready):
                return b""
            self._drops_tag = False
            size = mp3_frame_bytes(self._ready)
            if not any(self._ready[4:size]):
                del self._ready[:size]
        taken, self._ready = bytes(self._ready), bytearray()
        return taken

    def write(self, data: Any) -> int:
        """Take bytes; those behind the end only."""
        content = bytes(memoryview(data))
        if self._position == self._end:
            self._end += len(content)
            self._ready += content
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing before the end can be written any more."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


def mp3_frame_bytes(head: bytes | bytearray) -> int:
    """Return the length of the frame that begins with `head` (ISO 11172-3 2.4.3.1, 13818-3)."""
    is_mpeg1 = head[1] >> 3 & 3 == 3
    kbps = _MP3_KBPS[is_mpeg1][head[2] >> 4]
    shift = {3: 0, 2: 1, 0: 2}[head[1] >> 3 & 3]  # MPEG-1, 2, 2.5
    rate_hz = _MP3_RATES_HZ[head[2] >> 2 & 3] >> shift
    return (144 if is_mpeg1 else 72) * kbps * 1000 // rate_hz + (head[2] >> 1 & 1)


def mp3_level(rate_hz: int, bitrate: int) -> float:
    """Return libsndfile's compression level for a bit rate (its mpeg_l3_encode.c scale)."""
    # MPEG-1 layer III from 32 kHz on: 32 to 320 kbit/s; below it MPEG-2: 8 to 160.
    low, high = (32_000, 320_000) if rate_hz >= 32_000 else (8_000, 160_000)
    return min(_MAX_LEVEL, max(0.0, (high - bitrate) / (high - low)))
