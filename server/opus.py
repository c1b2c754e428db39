"""One Opus encoder: whole frames in, packets out, its delay known.

libopus takes 8, 12, 16, 24 and 48 kHz and no other rate; see `encoder.py` for the way there. An
encoder belongs to one context and is never reset within it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from engine.errors import InvalidParameter
from engine.types import FloatArray
from server import libopus
from server.frames import CLOCK_HZ
from server.settings import SAMPLE_RATES_HZ

RATES_HZ = SAMPLE_RATES_HZ["opus"]
FRAME_MS = (10, 20, 40, 60)
_SIGNAL_VOICE = 3001  # OPUS_SIGNAL_VOICE, opus_defines.h
_MAX_PACKET_BYTES = 1275 * 3 + 7  # RFC 6716 section 3.2: three frames of 20 ms in one packet


class Application(Enum):
    """What the encoder is tuned for; values of opus_defines.h."""

    AUDIO = 2049
    VOIP = 2048


@dataclass(frozen=True, slots=True)
class OpusOptions:
    """How to encode. The defaults are clear speech in few bytes.

    Attributes:
        bitrate: Bits per second, variable around it.
        complexity: 0 (fast) to 10.
    """

    rate_hz: int = 24000
    frame_ms: int = 20
    bitrate: int = 32000
    complexity: int = 5
    application: Application = Application.AUDIO

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES_HZ:
            raise InvalidParameter("format.rate", self.rate_hz, ", ".join(map(str, RATES_HZ)))
        if self.frame_ms not in FRAME_MS:
            raise InvalidParameter("format.frame_ms", self.frame_ms, ", ".join(map(str, FRAME_MS)))
        if not 6000 <= self.bitrate <= 510_000:
            raise InvalidParameter("format.bitrate", self.bitrate, "6000 to 510000 bit/s")
        if not 0 <= self.complexity <= 10:
            raise InvalidParameter("complexity", self.complexity, "0 to 10")


class OpusEncoder:
    """Encodes a mono stream frame by frame.

    Attributes:
        frame_samples: Samples of every frame.
        lookahead_samples: How far the decoded signal lags, in samples of the encoder's rate.
        pre_skip48: The same at 48 kHz: what a decoder drops first.

    Raises:
        BackendUnavailable: If there is no libopus.
    """

    def __init__(self, options: OpusOptions) -> None:
        opuslib = libopus.load()
        api = opuslib.api
        self._encode = api.encoder.encode_float
        self._encoder: Any = opuslib.Encoder(options.rate_hz, 1, options.application.value)
        self._state = self._encoder.encoder_state
        # Not the properties of opuslib.Encoder: that of inband_fec raises TypeError (3.0.1). FEC
        # repairs lost packets and TCP loses none; DTX would break the even cadence of packets.
        for request, value in (
            (api.ctl.set_bitrate, options.bitrate),
            (api.ctl.set_complexity, options.complexity),
            (api.ctl.set_signal, _SIGNAL_VOICE),
            (api.ctl.set_vbr, 1),
            (api.ctl.set_inband_fec, 0),
            (api.ctl.set_dtx, 0),
        ):
            api.encoder.encoder_ctl(self._state, request, value)
        self.frame_samples = options.rate_hz * options.frame_ms // 1000
        self.lookahead_samples = int(api.encoder.encoder_ctl(self._state, api.ctl.get_lookahead))
        self.pre_skip48 = self.lookahead_samples * CLOCK_HZ // options.rate_hz

    def encode(self, frame: FloatArray) -> bytes:
        """Return the packet of one frame, float32 [frame_samples] in [-1, 1]."""
        assert frame.dtype == np.float32 and frame.shape == (self.frame_samples,)
        packet: bytes = self._encode(
            self._state, frame.tobytes(), self.frame_samples, _MAX_PACKET_BYTES
        )
        return packet
