"""Ogg Opus: what is written is read back, by us and by libsndfile; damage is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from clients.ogg import OggOpusWriter, _crc, read_ogg_opus
from server.encoder import AudioEncoder, Codec


def written(
    packets: list[bytes], *, total: int, max_packets: int = 1, pre_skip: int = 312
) -> bytes:
    writer = OggOpusWriter(pre_skip48=pre_skip, input_hz=24000, max_packets=max_packets)
    return b"".join(writer.add(packet, 960) for packet in packets) + writer.finish(total)


def test_crc_is_the_one_of_ogg() -> None:
    """The check value of CRC-32/MPEG-2's polynomial with init 0 and no complement."""
    assert _crc(b"123456789") == 0x89A1897F


@given(
    packets=st.lists(st.binary(max_size=1000), min_size=1, max_size=20),
    max_packets=st.integers(1, 60),
    trim=st.integers(0, 600),
)
def test_round_trip(packets: list[bytes], max_packets: int, trim: int) -> None:
    """Packets of any size and their total come back whatever the page size."""
    total = len(packets) * 960 - 312 - trim
    stream = read_ogg_opus(written(packets, total=total, max_packets=max_packets))
    assert stream.packets == tuple(packets)
    assert (stream.pre_skip48, stream.input_hz, stream.total_samples48) == (312, 24000, total)


@pytest.mark.parametrize("max_packets", [1, 5, 50])
def test_libsndfile_decodes_it_to_the_exact_length(max_packets: int) -> None:
    """An independent demuxer and decoder finds the tone and the number of samples."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=32000, rate_hz=48000, bitrate=96000)
    tone = (0.4 * np.sin(np.arange(1280 * 25) * (2 * np.pi * 440 / 32000))).astype(np.float32)
    packets = encoder.encode(tone) + encoder.finish()
    writer = OggOpusWriter(pre_skip48=encoder.pre_skip48, max_packets=max_packets)
    data = b"".join(writer.add(packet.payload, packet.duration48) for packet in packets)
    data += writer.finish(encoder.total_samples48)
    decoded, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate_hz == 48000 and len(decoded) == 48000
    expected = 0.4 * np.sin(np.arange(48000) * (2 * np.pi * 440 / 48000))
    assert np.sqrt(np.mean((decoded - expected)[2000:-2000] ** 2)) < 0.02


def test_first_page_leaves_with_the_second_packet() -> None:
    """Only one packet is held back."""
    writer = OggOpusWriter(pre_skip48=312)
    header = writer.add(b"a" * 80, 960)
    assert header.count(b"OggS") == 2
    assert writer.add(b"b" * 80, 960).endswith(b"a" * 80)


def test_page_holds_no_more_than_255_segments() -> None:
    """Packets of 600 bytes take three segments each: 85 to a page."""
    data = written([b"x" * 600] * 100, total=90_000, max_packets=200)
    assert data.count(b"OggS") == 2 + 2
    assert len(read_ogg_opus(data).packets) == 100


def test_no_audio_is_a_valid_empty_stream() -> None:
    """A context without audio still makes a file."""
    assert read_ogg_opus(written([], total=0, pre_skip=0)).packets == ()


def test_damage_is_refused() -> None:
    """A flipped bit, a missing page, a missing end and other data are errors."""
    data = written([b"x" * 300, b"y" * 300, b"z"], total=2000)
    pages = [b"OggS" + page for page in data.split(b"OggS")[1:]]
    for bad in (
        data[:-3] + b"?" + data[-2:],
        b"".join(pages[:3] + pages[4:]),
        b"".join(pages[:-1]),
        data[:-5],
        b"RIFF" + data[4:],
        b"".join(pages[1:2]),
        b"",
    ):
        with pytest.raises(ValueError, match="page|stream"):
            read_ogg_opus(bad)


def test_wrong_headers_are_refused() -> None:
    """A stream of something else, or of stereo, is named."""
    writer = OggOpusWriter(pre_skip48=0)
    writer._has_header = True
    with pytest.raises(ValueError, match="OpusHead"):
        read_ogg_opus(writer.add(b"a", 960) + writer.finish(0))
    stereo = written([b"a"], total=0)
    writer = OggOpusWriter(pre_skip48=0)
    writer._has_header = True
    head, tags = read_ogg_headers(stereo)
    head = head[:9] + b"\x02" + head[10:]
    data = writer._page([head], 0, 2) + writer._page([tags], 0) + writer._page([], 0, 4)
    with pytest.raises(ValueError, match="2 channels"):
        read_ogg_opus(data)


def read_ogg_headers(data: bytes) -> tuple[bytes, bytes]:
    head = data[28 : 28 + 19]
    tags_at = data.index(b"OpusTags")
    return head, data[tags_at : data.index(b"OggS", tags_at)]
