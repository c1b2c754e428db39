"""Decode the Opus packets of one context to 16-bit samples."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from clients.errors import Unplayable

_OPUS_HZ = 48000
_MAX_FRAME_MS = 120  # RFC 6716 section 2.1.4: of one packet
_BYTES_PER_SAMPLE = 2


def _binding() -> ModuleType:
    """Return the binding that brings its own libopus, or the one for the system's."""
    reasons = []
    for name in ("opuslib_next", "opuslib"):
        try:
            return importlib.import_module(name)
        except Exception as error:  # opuslib raises a bare Exception without a library
            reasons.append(f"{name}: {error}")
    raise Unplayable(
        f"no Opus decoder ({'; '.join(reasons)}): pip install opuslib-next-bundled,"
        " or ask the server for pcm_s16le"
    )


class OpusDecoder:
    """Decodes one stream, without the encoder's delay at its start.

    The stream's end holds padding: cut what was decoded to the announced total.

    Args:
        rate_hz: Of the samples wanted: 8, 12, 16, 24 or 48 kHz, whatever was encoded.
        pre_skip48: 48 kHz samples to drop at the start, as `context.started` announces.

    Raises:
        Unplayable: If there is no libopus.
    """

    def __init__(self, rate_hz: int, pre_skip48: int) -> None:
        self._decoder: Any = _binding().Decoder(rate_hz, 1)
        self._max_samples = rate_hz * _MAX_FRAME_MS // 1000
        self._bytes_to_skip = pre_skip48 * rate_hz // _OPUS_HZ * _BYTES_PER_SAMPLE

    def decode(self, packet: bytes) -> bytes:
        """Return the samples of the next packet, int16 little-endian."""
        decoded: bytes = self._decoder.decode(packet, self._max_samples)
        skipped = min(self._bytes_to_skip, len(decoded))
        self._bytes_to_skip -= skipped
        return decoded[skipped:]
