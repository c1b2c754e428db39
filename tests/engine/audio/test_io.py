"""Recordings of many formats are read; what is none, or too much, is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.audio.io import AudioLimits, read_audio
from engine.errors import VoiceError
from tests.speechlike import speechlike


def _encode(samples: np.ndarray, rate_hz: int, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format_", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "FLOAT", 0),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.2),
        ("MP3", "MPEG_LAYER_III", 0.2),
    ],
)
def test_formats_are_decoded(format_: str, subtype: str, tolerance: float) -> None:
    """The samples come out as they went in, lossy formats about so."""
    wave = speechlike(1.0, 48000)
    found = read_audio(_encode(wave, 48000, format=format_, subtype=subtype))
    assert found.sample_rate_hz == 48000 and found.samples.dtype == np.float32
    assert len(found.samples) == pytest.approx(48000, abs=2400)
    if tolerance < 0.1:
        assert np.abs(found.samples - wave).max() <= tolerance
    else:
        assert np.sqrt(np.mean(found.samples**2)) == pytest.approx(0.1, rel=tolerance)


def test_m4a_is_decoded_by_pyav() -> None:
    """What soundfile does not know goes to PyAV."""
    av = pytest.importorskip("av")
    wave = speechlike(1.0, 48000)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    found = read_audio(buffer.getvalue())
    assert found.duration_s == pytest.approx(1.0, abs=0.06)
    assert np.sqrt(np.mean(found.samples**2)) == pytest.approx(0.1, rel=0.2)


def test_without_pyav_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base install names the package."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VoiceError, match=r"sovits-live\[formats\]"):
        read_audio(b"\0\0\0\x20ftypM4A " + bytes(200), name="a.m4a")


def test_stereo_is_mixed_and_rates_change() -> None:
    """Two channels become their mean; `at_rate` resamples."""
    left, right = speechlike(1, 44100, seed=1), speechlike(1, 44100, seed=2)
    data = _encode(np.stack([left, right], 1), 44100, format="WAV", subtype="FLOAT")
    found = read_audio(data)
    np.testing.assert_allclose(found.samples, (left + right) / 2, atol=1e-7)
    assert len(found.at_rate(16000)) == 16000


def test_float_files_keep_peaks_above_one() -> None:
    """A level over full scale is not clipped by reading."""
    data = _encode(speechlike(1, level=0.8), 32000, format="WAV", subtype="FLOAT")
    assert np.abs(read_audio(data).samples).max() > 1.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be decoded"),
        (b"hello" * 100, "cannot be decoded"),
        (_encode(np.zeros(0, np.float32), 32000, format="WAV"), "no audio"),
        (_encode(np.zeros((100, 9), np.float32), 32000, format="WAV"), "9 channels"),
        (_encode(np.zeros(100, np.float32), 4000, format="WAV"), "4000 Hz"),
        (_encode(np.array([0, np.nan], np.float32), 32000, format="WAV", subtype="FLOAT"), "NaN"),
        (_encode(np.array([0, np.inf], np.float32), 32000, format="WAV", subtype="FLOAT"), "NaN"),
        (_encode(np.zeros(32000 * 3, np.float32), 32000, format="FLAC"), "longer than 2 s"),
        (bytes(2 << 20), "larger than 1 MiB"),
    ],
    ids=["empty", "junk", "no samples", "channels", "rate", "nan", "inf", "long", "large"],
)
def test_unusable_recordings_are_named(data: bytes, message: str) -> None:
    """Each defect has its message, and the error code is the same."""
    limits = AudioLimits(num_bytes=1 << 20, duration_s=2.0)
    with pytest.raises(VoiceError, match=message) as caught:
        read_audio(data, limits=limits)
    assert caught.value.code == "bad_reference"
    assert "object at 0x" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A wrong path is an error of the reference, not a crash."""
    with pytest.raises(VoiceError, match="nothing.wav: No such file"):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(VoiceError, match="directory"):
        read_audio(tmp_path)
