"""What happens to recordings on their way: codecs, sample rates, noise, rooms, clocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import soundfile
import soxr

from clients.opus_decode import OpusDecoder
from engine.audio.resample import resample
from engine.types import FloatArray
from server.opus import Application, OpusEncoder, OpusOptions

Samples = tuple[FloatArray, int]  # float32 [N] and its rate
Attack = Callable[[FloatArray, int], Samples]

_ROOM_S = 0.3  # to -60 dB
_ROOM_DIRECT_DB = 6.0  # the direct sound over all that follows


def opus(samples: FloatArray, rate_hz: int, *, bitrate: int, voip: bool = False) -> Samples:
    """Return what a decoder makes of Opus at 24 kHz."""
    wave, code_hz = resample(samples, rate_hz, 24000), 24000
    application = Application.VOIP if voip else Application.AUDIO
    encoder = OpusEncoder(OpusOptions(code_hz, bitrate=bitrate, application=application))
    decoder = OpusDecoder(code_hz, encoder.pre_skip48)
    size = encoder.frame_samples
    frames = np.clip(wave[: len(wave) // size * size].reshape(-1, size), -1, 1)
    pcm = b"".join(decoder.decode(encoder.encode(frame)) for frame in frames)
    decoded = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    return decoded, code_hz


def file_of(
    samples: FloatArray,
    rate_hz: int,
    *,
    format: str,
    subtype: str,
    level: float | None = None,
    mode: str | None = None,
) -> Samples:
    """Return what is read from a file of a kind; `level` and `mode` are soundfile's."""
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        rate_hz,
        format=format,
        subtype=subtype,
        compression_level=level,
        bitrate_mode=mode,
    )
    file.seek(0)
    wave, read_hz = soundfile.read(file, dtype="float32")
    return wave, int(read_hz)


def mp3(samples: FloatArray, rate_hz: int, *, level: float) -> Samples:
    """Return the samples after LAME at a constant bit rate; the names below are those at 24 kHz."""
    return file_of(
        samples, rate_hz, format="MP3", subtype="MPEG_LAYER_III", level=level, mode="CONSTANT"
    )


def telephone(samples: FloatArray, rate_hz: int, *, law: str) -> Samples:
    """Return G.711 at 8 kHz, ULAW or ALAW."""
    return file_of(resample(samples, rate_hz, 8000), 8000, format="WAV", subtype=law)


def through_rate(samples: FloatArray, rate_hz: int, *, through_hz: int) -> Samples:
    """Return the samples at their rate after one of less."""
    return resample(resample(samples, rate_hz, through_hz), through_hz, rate_hz), rate_hz


def noisy(samples: FloatArray, rate_hz: int, *, snr_db: float) -> Samples:
    """Add white noise, so far below the whole recording's power."""
    level = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) / 10 ** (snr_db / 20)
    noise = np.random.default_rng(1).standard_normal(len(samples)) * level
    return (samples + noise).astype(np.float32), rate_hz


def gained(samples: FloatArray, rate_hz: int, *, gain_db: float) -> Samples:
    """Amplify, and round to 16 bits."""
    louder = samples * np.float32(10 ** (gain_db / 20))
    return file_of(louder, rate_hz, format="WAV", subtype="PCM_16")


def in_a_room(samples: FloatArray, rate_hz: int) -> Samples:
    """Add a dense tail that decays, as a room does; drawn once and for all."""
    count = round(_ROOM_S * rate_hz)
    decay = 10 ** (-3 * np.arange(count) / count)
    tail = np.random.default_rng(2).standard_normal(count) * decay
    tail *= 10 ** (-_ROOM_DIRECT_DB / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(samples) + count).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(tail, size)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32), rate_hz


def sped_up(samples: FloatArray, rate_hz: int, *, ppm: float) -> Samples:
    """Return what a clock that is so much slow records."""
    return soxr.resample(samples, rate_hz * (1 + ppm * 1e-6), rate_hz, quality="HQ"), rate_hz


ATTACKS: Mapping[str, Attack] = {
    "none": lambda samples, rate_hz: (samples, rate_hz),
    "opus 32 kbit/s": partial(opus, bitrate=32000),
    "opus 24 kbit/s": partial(opus, bitrate=24000),
    "opus 24 kbit/s voip": partial(opus, bitrate=24000, voip=True),
    "opus 16 kbit/s voip": partial(opus, bitrate=16000, voip=True),
    "opus 12 kbit/s voip": partial(opus, bitrate=12000, voip=True),
    "16 kHz and back": partial(through_rate, through_hz=16000),
    "G.711 mu-law": partial(telephone, law="ULAW"),
    "G.711 A-law": partial(telephone, law="ALAW"),
    "MP3 56 kbit/s": partial(mp3, level=0.7),
    "MP3 24 kbit/s": partial(mp3, level=0.9),
    "Vorbis 34 kbit/s": partial(file_of, format="OGG", subtype="VORBIS", level=0.9),
    "-20 dB, 16 bits": partial(gained, gain_db=-20.0),
    "noise 30 dB": partial(noisy, snr_db=30.0),
    "noise 20 dB": partial(noisy, snr_db=20.0),
    "noise 10 dB": partial(noisy, snr_db=10.0),
    "a room": in_a_room,
    "clock 20 ppm": partial(sped_up, ppm=20.0),
    "clock 100 ppm": partial(sped_up, ppm=100.0),
    "1 % faster": partial(sped_up, ppm=10_000.0),
}
