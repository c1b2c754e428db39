"""The binary form of an audio packet: a 16-byte big-endian header (`h16`), then the packet.

    off size  field
      0 u8    version, 1
      1 u8    flags
      2 u16   alias of the context
      4 u32   seq, per context, from 0, +1 per packet
      8 u32   pts, 48 kHz samples since the context started, before pre-skip; wraps after 24.8 h
     12 u16   duration, 48 kHz samples
     14 u16   index of the sentence

With the flag BATCH the payload is n x {u16 length, packet}: `seq` and `pts` are the first packet's,
`duration` is the sum.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

VERSION = 1
CLOCK_HZ = 48000  # of every pts and duration, whatever the codec's rate
CLOCK_PER_MS = CLOCK_HZ // 1000
_HEADER = struct.Struct(">BBHIIHH")
HEADER_BYTES = _HEADER.size


class Flags(IntFlag):
    """What is special about a packet."""

    NONE = 0
    FIRST = 1  # of the context
    LAST = 2  # of the context
    SEG_START = 4
    SILENCE = 8
    BATCH = 16
    DISCONT = 32  # the decoder must be reset
    REPLAY = 64


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One packet of a context, as the utterance hands it over.

    Attributes:
        pts: 48 kHz samples since the context started; not wrapped.
        duration: 48 kHz samples.
        seg: Index of the sentence its first sample belongs to.
    """

    payload: bytes
    seq: int
    pts: int
    duration: int
    seg: int
    flags: Flags = Flags.NONE


@dataclass(frozen=True, slots=True)
class Header:
    """The decoded header of one binary message."""

    flags: Flags
    alias: int
    seq: int
    pts: int
    duration: int
    seg: int


def pack(packet: AudioPacket, alias: int) -> bytes:
    """Return the binary message that carries one packet."""
    return _header(packet.flags, alias, packet, packet.duration) + packet.payload


def pack_batch(packets: Sequence[AudioPacket], alias: int) -> bytes:
    """Return one binary message for consecutive packets of a context."""
    if len(packets) == 1:
        return pack(packets[0], alias)
    flags = Flags.BATCH
    for packet in packets:
        flags |= packet.flags
    parts = [_header(flags, alias, packets[0], sum(packet.duration for packet in packets))]
    for packet in packets:
        parts += (len(packet.payload).to_bytes(2, "big"), packet.payload)
    return b"".join(parts)


def _header(flags: Flags, alias: int, first: AudioPacket, duration: int) -> bytes:
    seq, pts, seg = first.seq & 0xFFFFFFFF, first.pts & 0xFFFFFFFF, first.seg & 0xFFFF
    return _HEADER.pack(VERSION, flags, alias, seq, pts, duration, seg)


def unpack(data: bytes) -> tuple[Header, tuple[bytes, ...]]:
    """Return the header and the packets of a binary message.

    Raises:
        ValueError: If it is not one.
    """
    if len(data) < HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes, an h16 header has {HEADER_BYTES}")
    version, flags, alias, seq, pts, duration, seg = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"h16 version is {version}, valid: {VERSION}")
    header = Header(Flags(flags), alias, seq, pts, duration, seg)
    payload = data[HEADER_BYTES:]
    return header, _split(payload) if Flags.BATCH in header.flags else (payload,)


def _split(payload: bytes) -> tuple[bytes, ...]:
    packets = []
    while payload:
        length = int.from_bytes(payload[:2], "big")
        packet, payload = payload[2 : 2 + length], payload[2 + length :]
        if len(packet) != length:
            raise ValueError(f"a packet of {length} bytes is cut at {len(packet)}")
        packets.append(packet)
    return tuple(packets)
