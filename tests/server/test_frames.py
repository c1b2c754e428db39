"""The binary header of audio messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.frames import HEADER_BYTES, AudioPacket, Flags, Header, pack, pack_batch, unpack

PACKETS = st.builds(
    AudioPacket,
    payload=st.binary(max_size=64),
    seq=st.integers(0, 2**32 - 1),
    pts=st.integers(0, 2**32 - 1),
    duration=st.just(960),
    seg=st.integers(0, 0xFFFF),
    flags=st.sampled_from([Flags.NONE, Flags.FIRST | Flags.SEG_START, Flags.LAST]),
)


def test_header_is_sixteen_big_endian_bytes() -> None:
    """The layout is the one server/frames.py gives, byte by byte."""
    packet = AudioPacket(b"xy", 0x01020304, 0x05060708, 960, 0x0A0B, Flags.FIRST | Flags.SEG_START)
    assert pack(packet, 0x0C0D) == bytes.fromhex("01050c0d010203040506070803c00a0b") + b"xy"
    assert HEADER_BYTES == 16


@given(st.lists(PACKETS, min_size=1, max_size=4), st.integers(1, 0xFFFF))
def test_unpack_reverses_pack(packets: list[AudioPacket], alias: int) -> None:
    """Header and payloads survive, single and batched."""
    header, payloads = unpack(pack_batch(packets, alias))
    assert payloads == tuple(packet.payload for packet in packets)
    assert (header.alias, header.seq, header.pts) == (alias, packets[0].seq, packets[0].pts)
    assert header.duration == 960 * len(packets)
    assert (Flags.BATCH in header.flags) == (len(packets) > 1)


def test_clocks_wrap() -> None:
    """After 24.8 hours pts starts again from zero."""
    header, _ = unpack(pack(AudioPacket(b"", 2**32 + 1, 2**32 + 2, 960, 65536), 1))
    assert header == Header(Flags.NONE, 1, 1, 2, 960, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"short", "5 bytes, an h16 header has 16"),
        (bytes([9]) + bytes(15), "h16 version is 9, valid: 1"),
        (bytes([1, 16]) + bytes(14) + b"\x00\x05abc", "a packet of 5 bytes is cut at 3"),
    ],
)
def test_refuses_what_is_no_frame(data: bytes, message: str) -> None:
    """Damaged messages are named, not guessed at."""
    with pytest.raises(ValueError, match=message):
        unpack(data)
