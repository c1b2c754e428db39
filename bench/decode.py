"""Turn what a server sends into samples as it arrives, so that it is known what each piece held."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clients.opus_decode import OpusDecoder
from engine.errors import InvalidParameter
from engine.types import FloatArray

_EMPTY = np.zeros(0, np.float32)
_OPUS_HZ = 48000
_PAGE_BYTES = 27  # of an Ogg page header before its lacing values, RFC 3533 section 6
_LACE = 255


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What a stream of audio is made of.

    Attributes:
        codec: pcm_s16le, mulaw, alaw, wav, ogg (Opus in Ogg) or opus (bare packets).
        pre_skip48: 48 kHz samples to drop from the start of decoded bare Opus.
    """

    codec: str
    rate_hz: int
    pre_skip48: int = 0


class Decoder(Protocol):
    """Decodes one stream."""

    rate_hz: int

    def feed(self, data: bytes) -> FloatArray:
        """Return the samples that are complete with the next bytes: float32 [N]."""
        ...


class PcmDecoder:
    """Signed 16-bit little-endian."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._rest = b""

    def feed(self, data: bytes) -> FloatArray:
        """See Decoder."""
        data = self._rest + data
        whole = len(data) & ~1
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768)


class G711Decoder:
    """Mu-law or A-law, a byte a sample (ITU-T G.711)."""

    def __init__(self, rate_hz: int, table: FloatArray) -> None:
        self.rate_hz = rate_hz
        self._table = table

    def feed(self, data: bytes) -> FloatArray:
        """See Decoder."""
        return self._table[np.frombuffer(data, np.uint8)]


def _mulaw_table() -> FloatArray:
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33  # 13 bits
    signed = np.where(code & 0x80, -magnitude, magnitude)
    return (signed / 8192).astype(np.float32)


def _alaw_table() -> FloatArray:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    steep = (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    magnitude = np.where(exponent > 0, steep, 2 * mantissa + 1)  # 12 bits
    return (np.where(code & 0x80, magnitude, -magnitude) / 4096).astype(np.float32)


class WavDecoder:
    """A WAV stream; its header says the rate and may come in any number of pieces.

    Raises:
        InvalidParameter: On feeding what is not 16-bit mono PCM.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._head = b""
        self._pcm: PcmDecoder | None = None

    def feed(self, data: bytes) -> FloatArray:
        """See Decoder."""
        if self._pcm is not None:
            return self._pcm.feed(data)
        self._head += data
        at = 12
        while len(self._head) >= at + 8:
            name, size = struct.unpack_from("<4sI", self._head, at)
            if name == b"data":
                self._pcm = PcmDecoder(self.rate_hz)
                return self._pcm.feed(self._head[at + 8 :])
            if name == b"fmt " and len(self._head) >= at + 24:
                kind, channels, self.rate_hz, _, _, bits = struct.unpack_from(
                    "<HHIIHH", self._head, at + 8
                )
                if (kind, channels, bits) != (1, 1, 16):
                    found = f"format {kind}, {channels} channels, {bits} bits"
                    raise InvalidParameter("wav", found, "16-bit mono PCM")
            at += 8 + size + size % 2
        return _EMPTY


class OpusPacketDecoder:
    """Bare Opus packets, one at a time."""

    def __init__(self, rate_hz: int, pre_skip48: int) -> None:
        self.rate_hz = rate_hz
        self._opus = OpusDecoder(rate_hz, pre_skip48)

    def feed(self, data: bytes) -> FloatArray:
        """See Decoder."""
        if not data:
            return _EMPTY
        samples = np.frombuffer(self._opus.decode(data), "<i2")
        return samples.astype(np.float32) / np.float32(32768)


class OggDecoder:
    """Opus in Ogg, page by page."""

    rate_hz = _OPUS_HZ

    def __init__(self) -> None:
        self._rest = b""
        self._packet = b""
        self._opus: OpusPacketDecoder | None = None

    def feed(self, data: bytes) -> FloatArray:
        """See Decoder."""
        self._rest += data
        found = [_EMPTY]
        while (length := self._page_length()) is not None:
            page, self._rest = self._rest[:length], self._rest[length:]
            found += [self._decode(packet) for packet in self._packets(page)]
        return np.concatenate(found)

    def _page_length(self) -> int | None:
        if len(self._rest) < _PAGE_BYTES:
            return None
        if self._rest[:4] != b"OggS":
            raise InvalidParameter("ogg", self._rest[:4], "pages that begin with OggS")
        body = _PAGE_BYTES + self._rest[26]
        length = body + sum(self._rest[_PAGE_BYTES:body])
        return length if len(self._rest) >= max(body, length) else None

    def _packets(self, page: bytes) -> list[bytes]:
        at, packets = _PAGE_BYTES + page[26], []
        for lace in page[_PAGE_BYTES:at]:
            self._packet += page[at : at + lace]
            at += lace
            if lace < _LACE:
                packets.append(self._packet)
                self._packet = b""
        return packets

    def _decode(self, packet: bytes) -> FloatArray:
        if packet[:8] == b"OpusHead":
            (pre_skip,) = struct.unpack_from("<H", packet, 10)
            self._opus = OpusPacketDecoder(_OPUS_HZ, pre_skip)
        if self._opus is None or packet[:8] in (b"OpusHead", b"OpusTags"):
            return _EMPTY
        return self._opus.feed(packet)


_DECODERS: Mapping[str, Callable[[AudioFormat], Decoder]] = {
    "pcm_s16le": lambda f: PcmDecoder(f.rate_hz),
    "mulaw": lambda f: G711Decoder(f.rate_hz, _mulaw_table()),
    "alaw": lambda f: G711Decoder(f.rate_hz, _alaw_table()),
    "wav": lambda f: WavDecoder(f.rate_hz),
    "ogg": lambda f: OggDecoder(),
    "opus": lambda f: OpusPacketDecoder(f.rate_hz, f.pre_skip48),
}
CODECS = tuple(_DECODERS)


def make_decoder(audio: AudioFormat) -> Decoder:
    """Return a decoder for one stream.

    Raises:
        InvalidParameter: Unknown codec.
    """
    if audio.codec not in _DECODERS:
        raise InvalidParameter("codec", audio.codec, ", ".join(CODECS))
    return _DECODERS[audio.codec](audio)
