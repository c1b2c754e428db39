"""Whatever the pieces a stream arrives in, the samples are the same."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from bench.decode import AudioFormat, make_decoder
from clients.ogg import OggOpusWriter
from engine.errors import InvalidParameter
from server import g711
from server.encoder import AudioEncoder
from tests.bench.scripted import RATE_HZ, pcm, speech

SOUND = speech(0.3)


def decode(audio: AudioFormat, data: bytes, size: int) -> np.ndarray:
    """Return what pieces of `size` bytes decode to."""
    decoder = make_decoder(audio)
    pieces = [decoder.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return np.concatenate(pieces)


@pytest.mark.parametrize("size", [1, 7, 100, 100000])
def test_wav_in_any_pieces(size: int) -> None:
    """The rate is the header's, not what was asked for."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(pcm(SOUND))
    assert np.abs(decode(AudioFormat("wav", 1), file.getvalue(), size) - SOUND).max() < 1e-4
    decoder = make_decoder(AudioFormat("wav", 1))
    decoder.feed(file.getvalue())
    assert decoder.rate_hz == 16000


@pytest.mark.parametrize("size", [1, 7, 100000])
def test_ogg_in_any_pieces(size: int) -> None:
    """Headers decode to nothing, packets to 20 ms each less what the encoder needed."""
    encoder = AudioEncoder("opus", source_hz=RATE_HZ, rate_hz=24000)
    packets = encoder.encode(SOUND) + encoder.finish()
    writer = OggOpusWriter(pre_skip48=encoder.pre_skip48)
    data = b"".join(writer.add(p.payload, p.duration48) for p in packets)
    data += writer.finish(encoder.total_samples48)
    samples = decode(AudioFormat("ogg", 1), data, size)
    assert len(samples) == len(packets) * 960 - encoder.pre_skip48
    if size == 100000:
        again, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        assert rate == 48000
        assert np.abs(samples[: len(again)] - again[: len(samples)]).max() < 1e-3


@pytest.mark.parametrize(("codec", "encode"), [("mulaw", g711.mulaw), ("alaw", g711.alaw)])
def test_g711(codec: str, encode: Callable[[np.ndarray], bytes]) -> None:
    """Within the codec's own error of one part in sixteen."""
    samples = np.linspace(-0.95, 0.95, 1001, dtype=np.float32)
    found = decode(AudioFormat(codec, 8000), encode(np.round(samples * 32767).astype(np.int16)), 13)
    assert np.abs(found - samples).max() < 0.03
    assert np.abs(found - samples)[450:550].max() < 0.005


def test_an_unknown_codec_is_refused() -> None:
    """The error names those there are."""
    with pytest.raises(InvalidParameter, match="pcm_s16le"):
        make_decoder(AudioFormat("mp3", 1))
