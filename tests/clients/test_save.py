"""Files are of exact length and readable by others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clients.errors import Unplayable
from clients.events import AudioPacket, ContextStarted
from clients.ogg import read_ogg_opus
from clients.save import SampleStream, check_target, open_sink
from server.encoder import AudioEncoder

RATES = {"opus": 24000, "pcm_s16le": 22050, "mulaw": 8000, "alaw": 8000}


def tone(num_samples: int, rate_hz: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.4 * np.sin(np.arange(num_samples) * (2 * np.pi * 300 / rate_hz))).astype(np.float32)


def context(codec: str, num_tokens: int) -> tuple[ContextStarted, list[AudioPacket], int]:
    """Return a context's start, packets and total, through the server's encoder."""
    encoder = AudioEncoder(codec, source_hz=32000, rate_hz=RATES[codec])
    encoded = encoder.encode(tone(1280 * num_tokens, 32000)) + encoder.finish()
    packets = [AudioPacket(p.payload, i, p.pts48, p.duration48, 0) for i, p in enumerate(encoded)]
    started = ContextStarted("c", 1, codec, encoder.rate_hz, pre_skip=encoder.pre_skip48)
    return started, packets, encoder.total_samples48


def write(path: Path, codec: str, num_tokens: int, *, is_whole: bool = True) -> None:
    started, packets, total = context(codec, num_tokens)
    with path.open("wb") as stream:
        sink = open_sink(stream, path.name, started)
        for packet in packets:
            sink.add(packet)
        sink.close(total if is_whole else None)


@pytest.mark.parametrize("codec", list(RATES))
@pytest.mark.parametrize("num_tokens", [1, 25, 33])
def test_wav_has_every_sample_and_no_other(tmp_path: Path, codec: str, num_tokens: int) -> None:
    """Tokens x 40 ms, and the tone is where it was, for every codec WAV can hold."""
    path = tmp_path / "a.wav"
    write(path, codec, num_tokens)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATES[codec]
    assert len(samples) == num_tokens * rate_hz // 25
    if num_tokens == 25 and codec != "opus":
        error = (samples - tone(len(samples), rate_hz))[100:-100]
        assert np.sqrt(np.mean(error**2)) < 0.01


def test_opus_file_holds_the_packets_as_sent(tmp_path: Path) -> None:
    """Nothing is encoded twice, and other programs decode it to the exact length."""
    path = tmp_path / "a.opus"
    write(path, "opus", 25)
    _, packets, total = context("opus", 25)
    stream = read_ogg_opus(path.read_bytes())
    assert stream.packets == tuple(packet.payload for packet in packets)
    assert stream.total_samples48 == total
    assert soundfile.info(path).duration == 1.0


@pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
def test_context_that_broke_off_leaves_a_readable_file(tmp_path: Path, name: str) -> None:
    """Without a total everything that came is kept."""
    path = tmp_path / name
    write(path, "opus", 5, is_whole=False)
    _, packets, _ = context("opus", 5)
    decoded_s = soundfile.info(path).frames / soundfile.info(path).samplerate
    assert decoded_s == pytest.approx(len(packets) * 0.02 - 0.0065)


def test_stream_that_cannot_seek_gets_unknown_sizes() -> None:
    """As for a pipe: players read to the end."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    started, packets, total = context("pcm_s16le", 2)
    pipe = Pipe()
    sink = open_sink(pipe, "-", started)
    for packet in packets:
        sink.add(packet)
    sink.close(total)
    data = pipe.getvalue()
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert len(data) == 44 + 2 * 22050 * 2 // 25


def test_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    """RIFF chunks are even; the size says the truth."""
    path = tmp_path / "a.wav"
    started = ContextStarted("c", 1, "mulaw", 8000)
    with path.open("wb") as stream:
        sink = open_sink(stream, "a.wav", started)
        sink.add(AudioPacket(b"\xff" * 161, 0, 0, 966, 0))
        sink.close(966)
    assert path.stat().st_size == 44 + 162
    assert soundfile.info(path).frames == 161


def test_empty_last_packet_changes_nothing() -> None:
    """Codecs without delay may end with a packet that only carries the mark."""
    started, packets, total = context("opus", 1)
    stream = SampleStream(started)
    data = b"".join(map(stream.add, packets))
    data += stream.add(AudioPacket(b"", 99, total, 0, 0)) + stream.finish(total)
    assert len(data) == 2 * 24000 // 25


def test_unknown_codec_is_refused() -> None:
    """A newer server might use one."""
    with pytest.raises(Unplayable, match="codec flac is unknown, valid: opus"):
        open_sink(io.BytesIO(), "a.wav", ContextStarted("c", 1, "flac", 48000))


@pytest.mark.parametrize(
    ("target", "codec", "reason"),
    [
        ("a.mp3", "opus", r"'a.mp3' is no audio file, valid: \*.wav"),
        ("a", "opus", "no audio file"),
        ("a.opus", "mulaw", "holds Opus and the codec is mulaw"),
    ],
)
def test_impossible_targets_are_refused(target: str, codec: str, reason: str) -> None:
    """Before anything is spoken."""
    with pytest.raises(ValueError, match=reason):
        check_target(target, codec)


@pytest.mark.parametrize(
    ("target", "codec"), [("-", "mulaw"), ("a.WAV", "alaw"), ("b.ogg", "opus"), ("-", "opus")]
)
def test_possible_targets_are_accepted(target: str, codec: str) -> None:
    """Suffixes in any case, and standard output."""
    check_target(target, codec)
