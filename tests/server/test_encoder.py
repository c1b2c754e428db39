"""AudioEncoder: exact lengths, one continuous stream, every codec."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.opus_decode import OpusDecoder
from engine.errors import InvalidParameter
from engine.types import FloatArray
from server.encoder import AudioEncoder, Codec, EncodedPacket, to_int16

RATES = [
    (Codec.OPUS, 8000),
    (Codec.OPUS, 16000),
    (Codec.OPUS, 24000),
    (Codec.OPUS, 48000),
    (Codec.PCM_S16LE, 8000),
    (Codec.PCM_S16LE, 22050),
    (Codec.PCM_S16LE, 24000),
    (Codec.PCM_S16LE, 32000),
    (Codec.PCM_S16LE, 44100),
    (Codec.MULAW, 8000),
    (Codec.ALAW, 8000),
]


def speechlike(num_samples: int, rate_hz: int = 32000) -> FloatArray:
    t = np.arange(num_samples) / rate_hz
    wave = np.sin(2 * np.pi * 180 * t) + 0.5 * np.sin(2 * np.pi * 720 * t)
    return (0.3 * wave * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(np.float32)


def silence(duration_ms: int, rate_hz: int) -> FloatArray:
    return np.zeros(rate_hz * duration_ms // 1000, np.float32)


def encode_in_pieces(
    encoder: AudioEncoder, samples: FloatArray, sizes: list[int]
) -> list[EncodedPacket]:
    packets: list[EncodedPacket] = []
    at = i = 0
    while at < len(samples):
        size = sizes[i % len(sizes)]
        packets += encoder.encode(samples[at : at + size])
        at, i = at + size, i + 1
    return packets + encoder.finish()


def num_decoded(encoder: AudioEncoder, packets: list[EncodedPacket]) -> int:
    """Return the decoded length in samples of the codec's rate, trimmed as a client trims."""
    if encoder.codec is Codec.OPUS:
        decoder = OpusDecoder(encoder.rate_hz, encoder.pre_skip48)
        length = sum(len(decoder.decode(packet.payload)) for packet in packets) // 2
        total = encoder.total_samples48 * encoder.rate_hz // 48000
        assert length >= total
        return min(length, total)
    width = 2 if encoder.codec is Codec.PCM_S16LE else 1
    return sum(len(packet.payload) for packet in packets) // width


@pytest.mark.parametrize(("codec", "rate_hz"), RATES)
@pytest.mark.parametrize("source_hz", [32000, 24000, 48000])
def test_decoded_length_is_tokens_and_pauses(codec: Codec, rate_hz: int, source_hz: int) -> None:
    """Tokens x 40 ms and pauses, to the sample, whatever the rates."""
    encoder = AudioEncoder(codec, source_hz=source_hz, rate_hz=rate_hz)
    packets: list[EncodedPacket] = []
    num_tokens, pauses_ms = 0, 0
    for tokens, pause_ms in ((1, 150), (7, 0), (13, 317), (2, 350)):
        packets += encoder.encode(speechlike(tokens * source_hz // 25, source_hz))
        num_tokens, pauses_ms = num_tokens + tokens, pauses_ms + pause_ms
        packets += encoder.encode(silence(pause_ms, source_hz))
    packets += encoder.finish()
    length_ms = num_tokens * 40 + pauses_ms
    assert encoder.position48 == length_ms * 48
    assert num_decoded(encoder, packets) == (2 * length_ms * rate_hz + 1000) // 2000
    assert [p.pts48 for p in packets] == list(np.cumsum([0] + [p.duration48 for p in packets[:-1]]))
    if codec is Codec.OPUS:
        lookahead = 312 * rate_hz // 48000
        assert len(packets) == math.ceil((length_ms * rate_hz // 1000 + lookahead) / (rate_hz / 50))
        assert {p.duration48 for p in packets} == {960}
    else:
        assert sum(p.duration48 for p in packets) == encoder.total_samples48
    if (length_ms * rate_hz) % 1000 == 0:
        assert encoder.total_samples48 == length_ms * 48


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(50, 3000), min_size=1, max_size=8),
    frame_ms=st.sampled_from([10, 20, 60]),
)
def test_packets_do_not_depend_on_the_pieces(sizes: list[int], frame_ms: int) -> None:
    """Chunk borders leave no trace in the stream, resampled and framed."""
    samples = speechlike(9000)
    for codec, rate_hz in ((Codec.OPUS, 24000), (Codec.PCM_S16LE, 22050)):
        whole, pieces = (
            AudioEncoder(codec, source_hz=32000, rate_hz=rate_hz, frame_ms=frame_ms)
            for _ in range(2)
        )
        assert encode_in_pieces(pieces, samples, sizes) == whole.encode(samples) + whole.finish()


def test_decoded_opus_is_the_signal_in_place() -> None:
    """Resampled, encoded, decoded and trimmed, the wave is where it was."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=32000, rate_hz=48000, bitrate=96000)
    packets = encode_in_pieces(encoder, speechlike(64000), [1280])
    decoder = OpusDecoder(48000, encoder.pre_skip48)
    data = b"".join(decoder.decode(packet.payload) for packet in packets)
    decoded = np.frombuffer(data, "<i2")[: encoder.total_samples48] / 32768
    expected = speechlike(96000, 48000)
    noise = decoded - expected
    assert 10 * np.log10(np.mean(expected**2) / np.mean(noise**2)) > 20


@pytest.mark.parametrize(("codec", "subtype"), [(Codec.MULAW, "ULAW"), (Codec.ALAW, "ALAW")])
def test_telephone_codecs_send_160_bytes_in_20_ms(codec: Codec, subtype: str) -> None:
    """They drop into an RTP-like media stream and decode to the signal."""
    encoder = AudioEncoder(codec, source_hz=32000, rate_hz=8000)
    packets = encode_in_pieces(encoder, speechlike(32000), [1280])
    assert {len(packet.payload) for packet in packets} == {160}
    data = b"".join(packet.payload for packet in packets)
    decoded, _ = soundfile.read(
        io.BytesIO(data), format="RAW", subtype=subtype, channels=1, samplerate=8000
    )
    expected = speechlike(8000, 8000)
    noise = decoded[200:-200] - expected[200:-200]
    assert 10 * np.log10(np.mean(expected**2) / np.mean(noise**2)) > 30


def test_loud_samples_are_clipped_and_never_wrap() -> None:
    """Upstream's int16 conversion turned +1.0 into -32768, a click on every loud chunk."""
    loud = np.array([1.0, 1.5, -1.0, -7.0, 0.99999, 0.0], np.float32)
    assert to_int16(loud).tolist() == [32767, 32767, -32767, -32767, 32767, 0]


def test_first_packet_needs_less_than_two_tokens() -> None:
    """The resampler and the frame hold back less than 80 ms."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=32000, rate_hz=24000)
    assert encoder.encode(speechlike(1280)) + encoder.encode(speechlike(1280))


def test_position_is_where_the_next_sentence_starts() -> None:
    """Also while the resampler still holds samples back."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=32000, rate_hz=24000)
    encoder.encode(speechlike(1280))
    assert encoder.position48 == 1920
    encoder.encode(silence(150, 32000))
    assert encoder.position48 == 1920 + 7200


def test_silence_is_marked() -> None:
    """Packets of nothing but zeros say so."""
    encoder = AudioEncoder(Codec.PCM_S16LE, source_hz=24000, rate_hz=24000)
    packets = encoder.encode(speechlike(480, 24000)) + encoder.encode(silence(40, 24000))
    assert [packet.is_silence for packet in packets] == [False, True, True]


def test_context_without_audio_has_no_packets() -> None:
    """Nothing in, nothing out, length 0."""
    encoder = AudioEncoder(Codec.OPUS, source_hz=32000, rate_hz=24000)
    assert encoder.finish() == [] and encoder.total_samples48 == 0


@pytest.mark.parametrize(
    ("codec", "rate_hz", "valid"),
    [
        (Codec.OPUS, 32000, "8000, 12000, 16000, 24000, 48000"),
        (Codec.MULAW, 16000, "8000 for mulaw"),
        (Codec.ALAW, 48000, "8000 for alaw"),
        (Codec.PCM_S16LE, 4000, "8000 to 48000 for pcm_s16le"),
    ],
)
def test_impossible_rates_are_refused(codec: Codec, rate_hz: int, valid: str) -> None:
    """The error names the field and what is valid."""
    with pytest.raises(InvalidParameter) as caught:
        AudioEncoder(codec, source_hz=32000, rate_hz=rate_hz)
    assert caught.value.field == "format.rate"
    assert caught.value.valid == valid


def test_codec_is_taken_by_name_and_unknown_ones_are_refused() -> None:
    """The wire names are the enum's values."""
    encoder = AudioEncoder("opus", source_hz=32000, rate_hz=24000)
    assert encoder.codec is Codec.OPUS and encoder.pre_skip48 == 312
    with pytest.raises(InvalidParameter, match="format.codec is 'mp3', valid: opus, pcm_s16le"):
        AudioEncoder("mp3", source_hz=32000, rate_hz=24000)
