"""Ogg Opus (RFC 7845) out of raw Opus packets, and back.

Nothing here belongs to the client alone: the server's HTTP routes answer `audio/ogg` with the same
writer, and this package imports none of ours, so it is the one place both can have it from.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_PAGE = struct.Struct("<4sBBqIIIB")
_HEAD = struct.Struct("<8sBBHIhB")
_CRC_OFFSET = 22
_CONTINUED, _FIRST, _LAST = 1, 2, 4  # header types, RFC 3533 section 6
_MAX_SEGMENTS = 255
_LACE = 255
_NO_GRANULE = -1  # no packet ends on the page
_VENDOR = b"sovits-live"
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _crc(data: bytes) -> int:
    """Return Ogg's CRC-32: zlib's polynomial with the bits in the other order, no complement."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")


def _laced(packet: bytes) -> bytes:
    return bytes([_LACE] * (len(packet) // _LACE) + [len(packet) % _LACE])


class OggOpusWriter:
    """Makes a stream of pages; every method returns the bytes that are ready.

    The last packet is always held back: only with the next one, or the end, is it known whether its
    page is the last, which must carry the exact length.

    Args:
        pre_skip48: 48 kHz samples a decoder drops at the start.
        input_hz: Rate of the original, for information only.
        max_packets: On one page. 1 has the least delay, 50 the least overhead.
    """

    def __init__(
        self, *, pre_skip48: int, input_hz: int = 48000, serial: int = 1, max_packets: int = 1
    ) -> None:
        self._pre_skip48 = pre_skip48
        self._input_hz = input_hz
        self._serial = serial
        self._max_packets = max_packets
        self._page_number = 0
        self._granule = 0  # 48 kHz samples in packets so far, pre-skip included
        self._held: list[bytes] = []
        self._has_header = False

    def add(self, packet: bytes, duration48: int) -> bytes:
        """Append a packet that lasts `duration48` samples of 48 kHz."""
        out = self._header()
        if self._held and self._is_full(packet):
            out += self._page(self._held, self._granule)
            self._held = []
        self._held.append(packet)
        self._granule += duration48
        return out

    def finish(self, total_samples48: int) -> bytes:
        """End the stream, which decodes to exactly `total_samples48` samples of 48 kHz."""
        end = min(self._granule, self._pre_skip48 + total_samples48)
        return self._header() + self._page(self._held, end, _LAST)

    def _is_full(self, packet: bytes) -> bool:
        num_segments = sum(len(_laced(held)) for held in self._held)
        if num_segments + len(_laced(packet)) > _MAX_SEGMENTS:
            return True
        return len(self._held) >= self._max_packets

    def _header(self) -> bytes:
        """Return OpusHead and OpusTags, each on a page of its own, the first time."""
        if self._has_header:
            return b""
        self._has_header = True
        head = _HEAD.pack(b"OpusHead", 1, 1, self._pre_skip48, self._input_hz, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", len(_VENDOR)) + _VENDOR + struct.pack("<I", 0)
        return self._page([head], 0, _FIRST) + self._page([tags], 0)

    def _page(self, packets: list[bytes], granule: int, kind: int = 0) -> bytes:
        laces = b"".join(map(_laced, packets))
        header = _PAGE.pack(
            b"OggS", 0, kind, granule, self._serial, self._page_number, 0, len(laces)
        )
        page = bytearray(header + laces + b"".join(packets))
        struct.pack_into("<I", page, _CRC_OFFSET, _crc(bytes(page)))
        self._page_number += 1
        return bytes(page)


@dataclass(frozen=True, slots=True)
class OggOpus:
    """A whole Ogg Opus stream, taken apart."""

    pre_skip48: int
    input_hz: int
    packets: tuple[bytes, ...]
    total_samples48: int  # after pre-skip and end trimming


def read_ogg_opus(data: bytes) -> OggOpus:
    """Take an Ogg Opus stream apart.

    Raises:
        ValueError: If a page is damaged, missing or out of order, or it is not mono Opus.
    """
    packets: list[bytes] = []
    partial = b""
    granule = 0
    last_kind = 0
    for number, (kind, page_granule, found, body) in enumerate(_pages(data)):
        last_kind = kind
        if found != number:
            raise ValueError(f"page {number} is missing: the next is {found}")
        if page_granule != _NO_GRANULE:
            granule = page_granule
        for chunk, is_complete in body:
            partial += chunk
            if is_complete:
                packets.append(partial)
                partial = b""
    if not last_kind & _LAST or partial:
        raise ValueError("the stream has no last page")
    if len(packets) < 2 or packets[0][:8] != b"OpusHead" or packets[1][:8] != b"OpusTags":
        raise ValueError("the stream does not begin with OpusHead and OpusTags")
    _, _, channels, pre_skip48, input_hz, _, _ = _HEAD.unpack_from(packets[0])
    if channels != 1:
        raise ValueError(f"the stream has {channels} channels, valid: 1")
    return OggOpus(pre_skip48, input_hz, tuple(packets[2:]), granule - pre_skip48)


def _pages(data: bytes) -> Iterator[tuple[int, int, int, list[tuple[bytes, bool]]]]:
    """Yield kind, granule, number and the pieces of packets, with whether each ends there."""
    at = 0
    while at < len(data):
        if len(data) < at + _PAGE.size or data[at : at + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {at}")
        _, _, kind, granule, _, number, crc, num_segments = _PAGE.unpack_from(data, at)
        laces = data[at + _PAGE.size : at + _PAGE.size + num_segments]
        start = at + _PAGE.size + num_segments
        end = start + sum(laces)
        page = bytearray(data[at:end])
        page[_CRC_OFFSET : _CRC_OFFSET + 4] = bytes(4)
        if end > len(data) or _crc(bytes(page)) != crc:
            raise ValueError(f"the Ogg page at byte {at} is damaged")
        pieces: list[tuple[bytes, bool]] = []
        for lace in laces:
            pieces.append((data[start : start + lace], lace < _LACE))
            start += lace
        yield kind, granule, number, pieces
        at = end
