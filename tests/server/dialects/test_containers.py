"""Files made while they are sent."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from server.dialects.containers import (
    Target,
    flac_target,
    float_target,
    make_container,
    mp3_level,
    mp3_target,
    pcm,
    raw_target,
    wav_g711_target,
    wav_target,
)
from server.frames import AudioPacket
from server.messages import ContextDone, ContextStarted, Timings, Usage
from server.settings import Format

SECONDS = 2


def tone(rate_hz: int) -> np.ndarray:
    """Return int16 [2 s]."""
    time_s = np.arange(SECONDS * rate_hz) / rate_hz
    return (0.3 * 32767 * np.sin(2 * np.pi * 440 * time_s)).astype("<i2")


def packed(target: Target, data: bytes, packet_bytes: int, *, is_whole: bool) -> list[bytes]:
    """Return what a container gives out, call by call."""
    audio = target.audio
    container = make_container(target, is_whole=is_whole)
    started = ContextStarted("", 1, audio.codec, audio.rate, 20, 0, "v", "s", "en", 1.0, 0, 0)
    out = [container.start(started)]
    for i in range(0, len(data), packet_bytes):
        payload = data[i : i + packet_bytes]
        out.append(container.add([AudioPacket(payload, i, i, 960, 0)]))
    done = ContextDone("", SECONDS * 48000, 1, Usage(1, 1), Timings(0, 0, 0.0, 0))
    return [*out, container.finish(done)]


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize(
    ("rate_hz", "bitrate"),
    [
        (8000, 128_000),
        (22050, 32_000),
        (22050, 48_000),
        (24000, 96_000),
        (44100, 128_000),
        (44100, 32_000),
        (48000, 192_000),
    ],
)
def test_mp3_of_every_rate_is_whole_frames_from_the_first_byte(
    rate_hz: int, bitrate: int, is_whole: bool
) -> None:
    """It decodes to the tone; the frame for lengths, which nobody fills in, is not sent."""
    samples = tone(rate_hz)
    pieces = packed(
        mp3_target(rate_hz, bitrate), samples.tobytes(), rate_hz // 25, is_whole=is_whole
    )
    data = b"".join(pieces)
    decoded, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == rate_hz
    assert len(samples) <= len(decoded) <= len(samples) + 4 * 1152
    middle = decoded[len(decoded) // 4 : len(decoded) // 2]
    assert float(np.sqrt(np.mean(middle**2))) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
    if not is_whole:
        assert any(data[4:200]), "an empty frame in front"
        first = next(i for i, piece in enumerate(pieces) if piece)
        assert first <= 8, "audio must not wait"


@pytest.mark.parametrize("is_whole", [False, True])
def test_flac_is_exact(is_whole: bool) -> None:
    """Every sample comes back; a stream's length is left open."""
    import av

    samples = tone(24000)
    data = b"".join(packed(flac_target(24000), samples.tobytes(), 960, is_whole=is_whole))
    with av.open(io.BytesIO(data)) as file:
        frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
    assert np.array_equal(np.concatenate(frames), samples)


@pytest.mark.parametrize("codec", ["pcm_s16le", "mulaw", "alaw"])
def test_wav_headers(codec: str) -> None:
    """A whole file has its sizes; a stream has the largest there are, once."""
    if codec == "pcm_s16le":
        target, data = wav_target(24000), tone(24000).tobytes()
    else:
        target, data = wav_g711_target(Format(codec=codec, rate=8000)), bytes(range(256)) * 60
    whole = b"".join(packed(target, data, 960, is_whole=True))
    with soundfile.SoundFile(io.BytesIO(whole)) as file:
        assert file.subtype == {"pcm_s16le": "PCM_16", "mulaw": "ULAW", "alaw": "ALAW"}[codec]
        assert len(file) == len(data) // (2 if codec == "pcm_s16le" else 1)
    pieces = packed(target, data, 960, is_whole=False)
    assert pieces[0][4:8] == pieces[0][40:44] == b"\xff" * 4
    assert b"".join(pieces[1:]) == data


def test_floats_and_bare_audio() -> None:
    """Floats are the samples over full scale, bare audio is what came in."""
    samples = np.array([0, 32767, -32767, 100], "<i2")
    data = b"".join(packed(float_target(8000), samples.tobytes(), 4, is_whole=False))
    assert np.allclose(np.frombuffer(data, "<f4"), [0, 1, -1, 100 / 32767])
    assert b"".join(packed(raw_target(pcm(8000)), b"abcd", 2, is_whole=False)) == b"abcd"


@pytest.mark.parametrize(
    ("rate_hz", "bitrate", "level"),
    [(44100, 320_000, 0.0), (44100, 32_000, 0.99), (24000, 160_000, 0.0), (24000, 320_000, 0.0)],
)
def test_mp3_level_spans_the_bit_rates_of_the_format(
    rate_hz: int, bitrate: int, level: float
) -> None:
    """What a format does not have is its nearest."""
    assert mp3_level(rate_hz, bitrate) == level
