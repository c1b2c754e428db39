"""OpusEncoder: controls really set, delay known, options checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.errors import InvalidParameter
from server import libopus
from server.opus import FRAME_MS, RATES_HZ, Application, OpusEncoder, OpusOptions


def control(encoder: OpusEncoder, name: str) -> Any:
    api = libopus.load().api
    return api.encoder.encoder_ctl(encoder._state, getattr(api.ctl, name))


def noise(num_samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.2 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_delay_is_six_and_a_half_milliseconds_at_every_rate(rate_hz: int) -> None:
    """pre_skip is announced in 48 kHz samples: 312."""
    encoder = OpusEncoder(OpusOptions(rate_hz=rate_hz))
    assert encoder.lookahead_samples == rate_hz * 65 // 10_000
    assert encoder.pre_skip48 == 312


def test_controls_arrive_in_the_encoder() -> None:
    """What libopus reports back is what was asked for."""
    encoder = OpusEncoder(OpusOptions(bitrate=24_000, complexity=3, application=Application.VOIP))
    assert control(encoder, "get_bitrate") == 24_000
    assert control(encoder, "get_complexity") == 3
    assert control(encoder, "get_signal") == 3001
    assert control(encoder, "get_vbr") == 1
    assert control(encoder, "get_inband_fec") == 0
    assert control(encoder, "get_dtx") == 0
    assert control(encoder, "get_application") == Application.VOIP.value


@pytest.mark.parametrize("frame_ms", FRAME_MS)
def test_frame_duration_is_in_the_packet(frame_ms: int) -> None:
    """The TOC byte (RFC 6716 section 3.1) and the frame count say how long a packet is."""
    encoder = OpusEncoder(OpusOptions(frame_ms=frame_ms))
    packet = encoder.encode(noise(encoder.frame_samples))
    decoder = libopus.load().Decoder(48000, 1)
    assert len(decoder.decode(packet, 5760)) == frame_ms * 48 * 2


def test_bitrate_decides_the_size() -> None:
    """More bits, larger packets; near what was asked for over a second of noise."""
    sizes = []
    for bitrate in (12_000, 32_000, 64_000):
        encoder = OpusEncoder(OpusOptions(bitrate=bitrate))
        frames = noise(24_000).reshape(50, 480)
        sizes.append(sum(len(encoder.encode(frame)) for frame in frames))
        assert 0.5 < sizes[-1] * 8 / bitrate < 1.6
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rate_hz": 32000}, "format.rate"),
        ({"frame_ms": 30}, "format.frame_ms"),
        ({"bitrate": 500}, "format.bitrate"),
        ({"complexity": 11}, "complexity"),
    ],
)
def test_impossible_options_are_refused_by_name(changes: dict[str, Any], field: str) -> None:
    """32 kHz, the pack's rate, is one of them."""
    with pytest.raises(InvalidParameter) as caught:
        OpusOptions(**changes)
    assert caught.value.field == field
