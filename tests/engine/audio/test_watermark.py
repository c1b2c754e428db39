"""The mark: exact however a stream is cut, and found after what happens to recordings."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from bench.recording_attacks import sped_up as resampled_by
from clients.opus_decode import OpusDecoder
from engine.audio.resample import resample
from engine.audio.watermark import HIGH_HZ, LOW_HZ, Watermark
from engine.audio.watermark_detector import detect
from engine.audio.watermark_key import WatermarkKey
from engine.errors import InvalidParameter
from engine.types import FloatArray
from server.opus import Application, OpusEncoder, OpusOptions
from tests.speechlike import noise, silence, speechlike

RATE_HZ = 24000
KEY = WatermarkKey(bytes(range(32)))
OTHER = WatermarkKey(bytes(32))


def voice(seconds: float, rate_hz: int = RATE_HZ, *, seed: int = 0) -> FloatArray:
    """Return syllables with breath in them: `speechlike` alone has nothing above 3.4 kHz."""
    tones = speechlike(seconds, rate_hz, seed=seed, pitch_hz=120.0 + 20 * (seed % 5))
    rhythm = np.clip(np.sin(8 * np.pi * np.arange(len(tones)) / rate_hz), 0, None)
    breath = noise(seconds, rate_hz, level=0.02, seed=seed)
    return (tones + breath * rhythm).astype(np.float32)


def marked(samples: FloatArray, rate_hz: int = RATE_HZ, key: WatermarkKey = KEY) -> FloatArray:
    """Return the samples marked in one piece."""
    return Watermark(key, rate_hz).start().process(samples)


SPEECH = voice(7.0)
MARKED = marked(SPEECH)
Attack = Callable[[FloatArray], tuple[FloatArray, int]]


def through_opus(samples: FloatArray, bitrate: int) -> tuple[FloatArray, int]:
    """Encode and decode as a telephone would."""
    options = OpusOptions(RATE_HZ, bitrate=bitrate, application=Application.VOIP)
    encoder = OpusEncoder(options)
    decoder = OpusDecoder(RATE_HZ, encoder.pre_skip48)
    size = encoder.frame_samples
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    pcm = b"".join(decoder.decode(encoder.encode(frame)) for frame in frames)
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768, RATE_HZ


def through_file(samples: FloatArray, rate_hz: int, *, format: str, subtype: str) -> FloatArray:
    """Write a file of a kind and read it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=format, subtype=subtype)
    file.seek(0)
    read: FloatArray = soundfile.read(file, dtype="float32")[0]
    return read


def with_noise(samples: FloatArray, snr_db: float) -> FloatArray:
    """Add white noise."""
    level = float(np.sqrt(np.mean(samples**2))) / 10 ** (snr_db / 20)
    return samples + noise(len(samples) / RATE_HZ, RATE_HZ, level=level, seed=9)


def sped_up(samples: FloatArray, ppm: float) -> FloatArray:
    """Record with another clock."""
    return resampled_by(samples, RATE_HZ, ppm=ppm)[0]


ATTACKS: dict[str, Attack] = {
    "none": lambda x: (x, RATE_HZ),
    "opus 32 kbit/s": lambda x: through_opus(x, 32000),
    "opus 24 kbit/s": lambda x: through_opus(x, 24000),
    "16 kHz and back": lambda x: (resample(resample(x, RATE_HZ, 16000), 16000, RATE_HZ), RATE_HZ),
    "44.1 kHz": lambda x: (resample(x, RATE_HZ, 44100), 44100),
    "G.711 at 8 kHz": lambda x: (
        through_file(resample(x, RATE_HZ, 8000), 8000, format="WAV", subtype="ULAW"),
        8000,
    ),
    "MP3": lambda x: (through_file(x, RATE_HZ, format="MP3", subtype="MPEG_LAYER_III"), RATE_HZ),
    "a fifth as loud": lambda x: (x / 5, RATE_HZ),
    "a clock 70 ppm slow": lambda x: (sped_up(x, 70), RATE_HZ),
    "a clock 70 ppm fast": lambda x: (sped_up(x, -70), RATE_HZ),
    "upside down": lambda x: (-x, RATE_HZ),
    "16 bits": lambda x: (through_file(x, RATE_HZ, format="WAV", subtype="PCM_16"), RATE_HZ),
    "noise at 20 dB": lambda x: (with_noise(x, 20), RATE_HZ),
    "noise at 30 dB": lambda x: (with_noise(x, 30), RATE_HZ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_found_in_five_seconds(name: str) -> None:
    """Cut out at a place of no meaning, after every ordinary thing that is done to a recording."""
    samples, rate_hz = ATTACKS[name](MARKED)
    cut = samples[round(1.2345 * rate_hz) : round(6.2345 * rate_hz)]
    found = detect(cut, rate_hz, KEY)
    assert found.is_marked and found.score > found.threshold + 1, found
    assert not detect(cut, rate_hz, OTHER).is_marked


@pytest.mark.parametrize("sizes", [(1,), (7, 240, 1), (239,), (241,), (4801, 13), (24000,)])
def test_cutting_changes_nothing(sizes: tuple[int, ...]) -> None:
    """The same bits from pieces of any size as from the whole."""
    speech = SPEECH[: 3000 if sizes == (1,) else 60000]
    stream = Watermark(KEY, RATE_HZ).start()
    pieces, start, turn = [], 0, 0
    while start < len(speech):
        size = sizes[turn % len(sizes)]
        pieces.append(stream.process(speech[start : start + size]))
        start, turn = start + size, turn + 1
    assert all(piece.dtype == np.float32 for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), MARKED[: len(speech)])


def test_it_waits_for_nothing_and_looks_at_the_past_only() -> None:
    """As many samples come out as go in, and later ones change none of them."""
    changed = SPEECH.copy()
    changed[30000:] *= -0.5
    assert len(MARKED) == len(SPEECH)
    np.testing.assert_array_equal(marked(changed)[:30000], MARKED[:30000])
    assert len(Watermark(KEY, RATE_HZ).start().process(SPEECH[:0])) == 0


@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000, 32000, 44100, 48000])
def test_it_is_29_db_below_the_speech_at_every_rate(rate_hz: int) -> None:
    """And in its band only."""
    speech = voice(5.0, rate_hz)
    samples = marked(speech, rate_hz)
    mark = (samples - speech).astype(np.float64)
    snr_db = 10 * np.log10(np.mean(speech.astype(np.float64) ** 2) / np.mean(mark**2))
    assert 28 < snr_db < 32
    power = np.abs(np.fft.rfft(mark)) ** 2
    hz = np.fft.rfftfreq(len(mark), 1 / rate_hz)
    inside = (hz > LOW_HZ - 50) & (hz < HIGH_HZ + 50)
    assert power[~inside].sum() < 1e-3 * power.sum()
    assert detect(samples, rate_hz, KEY).is_marked


def test_silence_stays_silence() -> None:
    """Nothing is added to digital silence, after speech either; and what is left fades with it."""
    assert not marked(silence(1.0, RATE_HZ)).any()
    quiet = silence(0.5, RATE_HZ)
    samples = marked(np.concatenate([SPEECH[:24000], quiet, SPEECH[:24000]]))
    assert not samples[24000 : 24000 + len(quiet)].any()
    # 40 ms after a sound that stops, its mark is gone from a faint noise too.
    faint = noise(0.5, RATE_HZ, level=1e-5)
    samples = marked(np.concatenate([SPEECH[:24000], faint]))
    assert np.abs(samples[24000 + 960 :] - faint[960:]).max() < 1e-5


def test_it_cannot_clip() -> None:
    """Full scale stays full scale."""
    loud = np.clip(SPEECH * 20, -1, 1).astype(np.float32)
    assert np.abs(loud).max() == 1.0 and np.abs(marked(loud)).max() <= 1.0
    assert detect(marked(loud), RATE_HZ, KEY).is_marked


def test_it_is_the_keys() -> None:
    """The same key marks the same way, another one another way."""
    np.testing.assert_array_equal(marked(SPEECH[:24000]), MARKED[:24000])
    other = marked(SPEECH, key=OTHER)
    assert detect(other, RATE_HZ, OTHER).is_marked and not detect(other, RATE_HZ, KEY).is_marked


def test_scores_without_the_mark_are_as_calculated() -> None:
    """Over 60 keys that are not in it: below the bound everywhere, and near it.

    The bound says exp(-t^2 / 2) for each of 192000 correlations, of which neighbours are alike: the
    median of the highest one must be below sqrt(2 ln 192000) = 4.9, its maximum far below
    the threshold.
    """
    clip = voice(1.5, seed=3)
    scores = [
        detect(clip, RATE_HZ, WatermarkKey(number.to_bytes(32))).score for number in range(60)
    ]
    threshold = detect(clip, RATE_HZ, KEY).threshold
    assert 3.8 < np.median(scores) < 4.9
    assert max(scores) < threshold - 0.8
    loose = detect(clip, RATE_HZ, KEY, false_alarm=0.05).threshold
    assert np.mean(np.array(scores) >= loose) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_clips_without_the_mark_are_told_apart(seed: int) -> None:
    """Speech, noise and a hum at a whole number of hertz."""
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    hum = (0.1 * np.sin(2 * np.pi * 50 * (seed + 1) * t)).astype(np.float32)
    for clip in (voice(4.0, seed=seed), noise(4.0, RATE_HZ, seed=seed), hum):
        assert not detect(clip, RATE_HZ, KEY).is_marked


def test_one_sentence_among_others_is_found_and_placed() -> None:
    """Four seconds of mark among half a minute without."""
    others = [voice(14.0, seed=seed) for seed in (1, 2)]
    recording = np.concatenate([others[0], MARKED[: 4 * RATE_HZ], others[1]])
    found = detect(recording, RATE_HZ, KEY)
    assert found.is_marked and found.start_s <= 15 and found.end_s >= 17
    assert found.end_s - found.start_s <= 16


def test_nothing_is_found_in_nothing() -> None:
    """Empty and silent recordings have a score of 0; a rate that is none is refused."""
    for clip in (silence(0.0, RATE_HZ), silence(3.0, RATE_HZ)):
        found = detect(clip, RATE_HZ, KEY)
        assert (found.is_marked, found.score) == (False, 0.0)
    with pytest.raises(InvalidParameter):
        detect(SPEECH, 12, KEY)


def test_bands_that_a_codec_left_out_do_not_count() -> None:
    """MP3 at 24 kbit/s leaves nothing above 6.5 kHz: weighted up, that hid the mark of some."""
    file = io.BytesIO()
    options = {"compression_level": 0.9, "bitrate_mode": "CONSTANT"}
    soundfile.write(file, MARKED, RATE_HZ, format="MP3", **options)
    file.seek(0)
    found = detect(soundfile.read(file, dtype="float32")[0], RATE_HZ, KEY)
    assert found.is_marked and found.score > 10
