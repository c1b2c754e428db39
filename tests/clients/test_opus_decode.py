"""The client's decoder, against the server's encoder."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from clients.errors import Unplayable
from clients.opus_decode import OpusDecoder
from server.encoder import AudioEncoder, Codec


def test_decoded_tone_is_in_place() -> None:
    """After pre-skip the decoded wave lines up with what was encoded."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=48000, rate_hz=48000, bitrate=96000)
    tone = (0.4 * np.sin(np.arange(48000) * (2 * np.pi * 300 / 48000))).astype(np.float32)
    decoder = OpusDecoder(48000, encoder.pre_skip48)
    packets = encoder.encode(tone) + encoder.finish()
    decoded = np.frombuffer(b"".join(decoder.decode(p.payload) for p in packets), "<i2") / 32768
    assert len(decoded) >= encoder.total_samples48
    error = decoded[4800:43200] - tone[4800:43200]
    assert np.sqrt(np.mean(error**2)) < 0.02


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any binding the error names the package."""
    for name in ("opuslib", "opuslib_next"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unplayable, match="pip install opuslib-next-bundled"):
        OpusDecoder(24000, 312)
