"""From the engine's samples to packets of one codec, exact to the sample.

    float32 at the pack's rate -> watermark, where there is one -> stateful resampling -> frames
        -> codec -> EncodedPacket

The stream is one from the first sample of a context to its last: nothing is reset at sentence or
chunk borders, and its length is that of what was given, to the sample. Opus packets are
all whole and the decoder trims: first `pre_skip48`, then to `total_samples48`. The other codecs
have no delay and a short last packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from engine.audio.resample import StreamResampler, resampled_length
from engine.audio.watermark import WatermarkStream
from engine.errors import InvalidParameter
from engine.types import FloatArray
from server import g711
from server.frames import CLOCK_HZ
from server.opus import OpusEncoder, OpusOptions

_INT16_FULL_SCALE = 32767
_G711_HZ = 8000
_PCM_MIN_HZ, _PCM_MAX_HZ = 8000, 48000


class Codec(StrEnum):
    """The codecs of the wire, by their names there."""

    OPUS = "opus"
    PCM_S16LE = "pcm_s16le"
    MULAW = "mulaw"
    ALAW = "alaw"


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One packet; times are samples of the 48 kHz clock since the context started."""

    payload: bytes
    pts48: int  # before pre-skip
    duration48: int
    is_silence: bool = False  # all samples are zero


class AudioEncoder:
    """Encodes one context. See the module docstring.

    Args:
        source_hz: Sample rate of what `encode` is given.
        rate_hz: Sample rate of the codec.
        bitrate: Opus only, bits per second.
        watermark: Marks what `encode` is given; None: nothing is marked.

    Attributes:
        pre_skip48: What the client drops from the start of the decoded stream; 0 without Opus.

    Raises:
        InvalidParameter: On a format the codec does not have.
        BackendUnavailable: For Opus without libopus.
    """

    def __init__(
        self,
        codec: Codec | str,
        *,
        source_hz: int,
        rate_hz: int,
        frame_ms: int = 20,
        bitrate: int = 32000,
        complexity: int = 5,
        watermark: WatermarkStream | None = None,
    ) -> None:
        if codec not in tuple(Codec):
            raise InvalidParameter("format.codec", codec, ", ".join(Codec))
        self.codec = codec = Codec(codec)
        self.source_hz = source_hz
        self.rate_hz = rate_hz
        self.frame_ms = frame_ms
        self.pre_skip48 = 0
        self._opus: OpusEncoder | None = None
        self._payload: Callable[[FloatArray], bytes]  # of the codecs without state
        if codec is Codec.OPUS:
            options = OpusOptions(rate_hz, frame_ms, bitrate, complexity=complexity)
            self._opus = OpusEncoder(options)
            self.pre_skip48 = self._opus.pre_skip48
        else:
            self._payload = _pcm_payload(codec, rate_hz)
        self._watermark = watermark
        self._resampler = StreamResampler(source_hz, rate_hz)
        self._frame_samples = rate_hz * frame_ms // 1000
        self._rest = np.zeros(0, np.float32)  # resampled, less than a frame
        self._num_source = 0  # samples taken
        self._num_coded = 0  # samples of the codec's rate in packets, padding included
        self._is_finished = False

    @property
    def position48(self) -> int:
        """Where the next sample given to `encode` will be on the 48 kHz clock."""
        return resampled_length(self._num_source, self.source_hz, CLOCK_HZ)

    @property
    def total_samples48(self) -> int:
        """The exact length of what was given; for Opus, of what is left after trimming."""
        coded = resampled_length(self._num_source, self.source_hz, self.rate_hz)
        return resampled_length(coded, self.rate_hz, CLOCK_HZ)

    def encode(self, samples: FloatArray) -> list[EncodedPacket]:
        """Take float32 [N] at the source rate and return the packets that are full.

        Samples outside [-1, 1] are clipped, once and here.
        """
        assert not self._is_finished, "encode after finish"
        self._num_source += len(samples)
        if self._watermark is not None:
            samples = self._watermark.process(samples)
        return self._frames(self._resampler.process(samples))

    def finish(self) -> list[EncodedPacket]:
        """Return the rest of the stream."""
        assert not self._is_finished, "finish twice"
        self._is_finished = True
        packets = self._frames(self._resampler.process(np.zeros(0, np.float32), final=True))
        if not self._num_source:
            return packets
        if self._opus is not None:
            # The decoder lags by the lookahead, so the last samples need that much more input.
            missing = -(len(self._rest) + self._opus.lookahead_samples) % self._frame_samples
            return packets + self._frames(
                np.zeros(missing + self._opus.lookahead_samples, np.float32)
            )
        if len(self._rest):
            payload, is_silence = self._payload(self._rest), not self._rest.any()
            packets.append(self._packet(payload, len(self._rest), is_silence=is_silence))
            self._rest = self._rest[:0]
        return packets

    def _frames(self, resampled: FloatArray) -> list[EncodedPacket]:
        """Cut what is there into whole frames and encode them."""
        ready = np.concatenate([self._rest, np.clip(resampled, -1.0, 1.0)])
        size = self._frame_samples
        frames = ready[: len(ready) // size * size].reshape(-1, size)
        self._rest = ready[frames.size :]
        if not len(frames):
            return []
        if self._opus is not None:
            payloads = [self._opus.encode(frame) for frame in frames]
        else:  # without state: all at once, then cut
            data = self._payload(frames.reshape(-1))
            width = len(data) // len(frames)
            payloads = [data[i : i + width] for i in range(0, len(data), width)]
        is_heard: list[bool] = np.asarray(frames.any(axis=1)).tolist()
        return [
            self._packet(payload, size, is_silence=not heard)
            for payload, heard in zip(payloads, is_heard, strict=True)
        ]

    def _packet(self, payload: bytes, num_samples: int, *, is_silence: bool) -> EncodedPacket:
        start = resampled_length(self._num_coded, self.rate_hz, CLOCK_HZ)
        self._num_coded += num_samples
        end = resampled_length(self._num_coded, self.rate_hz, CLOCK_HZ)
        return EncodedPacket(payload, start, end - start, is_silence)


def _pcm_payload(codec: Codec, rate_hz: int) -> Callable[[FloatArray], bytes]:
    """Return what turns samples into bytes for a codec without state."""
    if codec is Codec.PCM_S16LE:
        if not _PCM_MIN_HZ <= rate_hz <= _PCM_MAX_HZ:
            valid = f"{_PCM_MIN_HZ} to {_PCM_MAX_HZ} for {codec}"
            raise InvalidParameter("format.rate", rate_hz, valid)
        return lambda frame: to_int16(frame).astype("<i2").tobytes()
    if rate_hz != _G711_HZ:
        raise InvalidParameter("format.rate", rate_hz, f"{_G711_HZ} for {codec}")
    law = g711.mulaw if codec is Codec.MULAW else g711.alaw
    return lambda frame: law(to_int16(frame))


def to_int16(samples: FloatArray) -> g711.Int16Array:
    """Return float32 samples as int16, clipped: +1.0 must not wrap to -32768."""
    return np.rint(np.clip(samples, -1.0, 1.0) * _INT16_FULL_SCALE).astype(np.int16)
