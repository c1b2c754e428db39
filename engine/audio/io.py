"""Reads recordings of any format, from a file or from bytes, within limits.

soundfile (WAV, FLAC, OGG, Opus, MP3, AIFF ...) reads first; what it does not know goes to PyAV
(M4A, AAC, WebM, video) where that is installed. No program is started and no URL is followed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from engine.audio.resample import resample
from engine.errors import VoiceError
from engine.types import FloatArray

_BLOCK_FRAMES = 1 << 16


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What a recording may be at most."""

    num_bytes: int = 64 << 20
    duration_s: float = 300.0
    num_channels: int = 8
    advice: str = "cut out 3 to 10 seconds of clean speech"  # to who gives more


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A mono recording, float32 [N]; a float file may exceed [-1, 1].

    `name` is for messages only.
    """

    samples: FloatArray
    sample_rate_hz: int
    name: str = "recording"

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return len(self.samples) / self.sample_rate_hz

    def at_rate(self, rate_hz: int) -> FloatArray:
        """Return the samples at another rate."""
        return resample(self.samples, self.sample_rate_hz, rate_hz)

    def cut(self, start: int, end: int) -> Recording:
        """Return samples `start:end`."""
        return Recording(self.samples[start:end], self.sample_rate_hz, self.name)


def read_audio(
    source: Path | str | bytes, *, limits: AudioLimits | None = None, name: str = ""
) -> Recording:
    """Decode a recording and mix it to mono.

    Args:
        source: A file, or the contents of one.
        name: What messages call it; by default the file's name.

    Raises:
        VoiceError: Missing, unreadable, empty or too large, or with NaN or infinite samples.
    """
    limits = limits or AudioLimits()
    name = name or ("the recording" if isinstance(source, bytes) else Path(source).name)
    data = source if isinstance(source, bytes) else _read_file(Path(source), limits)
    if len(data) > limits.num_bytes:
        raise VoiceError(_too_big(name, limits), code="bad_reference")
    try:
        samples, rate_hz = _decode_soundfile(data, name, limits)
    except soundfile.LibsndfileError as error:
        samples, rate_hz = _decode_av(data, name, limits, error.error_string.rstrip("."))
    if not len(samples):
        raise VoiceError(f"{name} holds no audio", code="bad_reference")
    if not np.isfinite(samples).all():
        raise VoiceError(
            f"{name} has NaN or infinite samples; export it again as 16-bit WAV",
            code="bad_reference",
        )
    return Recording(samples, rate_hz, name)


def _read_file(path: Path, limits: AudioLimits) -> bytes:
    try:
        if path.stat().st_size > limits.num_bytes:
            raise VoiceError(_too_big(path.name, limits), code="bad_reference")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise VoiceError(f"{path}: {reason}", code="bad_reference") from None


def _too_big(name: str, limits: AudioLimits) -> str:
    return f"{name} is larger than {limits.num_bytes >> 20} MiB; {limits.advice}"


def _decode_soundfile(data: bytes, name: str, limits: AudioLimits) -> tuple[FloatArray, int]:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        rate_hz = int(file.samplerate)
        _check_format(name, rate_hz, int(file.channels), limits)
        blocks = (block.mean(axis=1) for block in _blocks(file))
        return _collect(blocks, rate_hz, name, limits), rate_hz


def _blocks(file: soundfile.SoundFile) -> Iterator[FloatArray]:
    """Yield float32 [frames, channels] until nothing is left."""
    while len(block := file.read(_BLOCK_FRAMES, "float32", always_2d=True)):
        yield block


def _decode_av(
    data: bytes, name: str, limits: AudioLimits, first_error: str
) -> tuple[FloatArray, int]:
    try:
        import av
    except ImportError:
        raise VoiceError(
            f"{name} cannot be decoded ({first_error}); convert it to WAV, or install PyAV for "
            "M4A, AAC and WebM: pip install 'sovits-live[formats]'",
            code="bad_reference",
        ) from None
    try:
        with av.open(io.BytesIO(data), "r", options={"protocol_whitelist": ""}) as container:
            if not container.streams.audio:
                raise VoiceError(f"{name} has no audio track", code="bad_reference")
            stream = container.streams.audio[0]
            rate_hz = int(stream.rate)
            _check_format(name, rate_hz, int(stream.channels), limits)
            resampler = av.AudioResampler(format="fltp", rate=rate_hz)
            blocks = (
                piece.to_ndarray().astype(np.float32).mean(axis=0)
                for frame in container.decode(stream)
                for piece in resampler.resample(frame)
            )
            return _collect(blocks, rate_hz, name, limits), rate_hz
    except av.FFmpegError as error:
        raise VoiceError(
            f"{name} cannot be decoded ({error}); convert it to WAV", code="bad_reference"
        ) from None


def _check_format(name: str, rate_hz: int, num_channels: int, limits: AudioLimits) -> None:
    if not 1 <= num_channels <= limits.num_channels:
        raise VoiceError(
            f"{name} has {num_channels} channels, valid: 1 to {limits.num_channels}",
            code="bad_reference",
        )
    if not 8000 <= rate_hz <= 192_000:
        raise VoiceError(
            f"{name} has a sample rate of {rate_hz} Hz, valid: 8000 to 192000", code="bad_reference"
        )


def _collect(
    blocks: Iterator[FloatArray], rate_hz: int, name: str, limits: AudioLimits
) -> FloatArray:
    """Join mono blocks; stop at the duration limit, whatever the file's header says."""
    kept: list[FloatArray] = []
    room = round(limits.duration_s * rate_hz)
    for block in blocks:
        kept.append(block)
        room -= len(block)
        if room < 0:
            raise VoiceError(
                f"{name} is longer than {limits.duration_s:g} s; {limits.advice}",
                code="bad_reference",
            )
    return np.concatenate(kept) if kept else np.zeros(0, np.float32)
