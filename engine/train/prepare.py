"""Turn recordings into features: every file is either prepared or reported, none stops the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.audio.denoise import denoise
from engine.audio.io import Recording, read_audio
from engine.audio.loudness import apply_gain, loudness_gain_db
from engine.audio.resample import resample
from engine.audio.vad import find_speech
from engine.enroll import SSL_RATE_HZ, Phonemizer
from engine.errors import CheckpointError, SovitsError, TextError, VoiceError
from engine.model_config import AcousticConfig
from engine.train import pitch
from engine.train.store import Entry, Features, FeatureStore
from engine.train.warp import warp
from engine.types import FRAMES_PER_TOKEN, Array, FloatArray, Language

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
MIN_SECONDS = 0.6
MAX_SECONDS = 30.0
TEACHER_FRAME_S = 0.025  # what durations of a manifest count


class Encoder(Protocol):
    """The frozen networks, as `engine.backends.reference.Reference` offers them."""

    def ssl_features(self, samples_16k: FloatArray) -> FloatArray:
        """Return [S, F] at 50 Hz."""
        ...

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        """Return [E], or None where the model has no speaker network."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One recording and what is said in it; the alignment is a teacher's, where there is one."""

    path: Path
    speaker: str
    language: str
    text: str
    symbols: tuple[str, ...] = ()
    durations_s: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        """A name for its features that does not change between runs."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        return f"{self.path.stem}-{digest}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or line that was not used, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """What became of the recordings."""

    num_new: int
    num_known: int
    seconds: float
    skipped: tuple[Skipped, ...]


def read_list(path: Path, skipped: list[Skipped]) -> Iterator[Source]:
    """Yield the recordings of a list: lines `path|speaker|language|text`, or a corpus manifest.

    Paths are relative to the list. Lines that are wrong are added to `skipped`.

    Raises:
        CheckpointError: If the list cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a list of recordings ({error})") from None
    parse = _manifest_line if path.suffix == ".jsonl" else _list_line
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield parse(line, path.parent)
            except (ValueError, KeyError, TypeError) as error:
                skipped.append(Skipped(f"{path.name}:{number}", str(error)))


def _list_line(line: str, folder: Path) -> Source:
    fields = line.split("|", 3)
    if len(fields) != 4 or not fields[3].strip():
        raise ValueError(f"{line!r:.80} is not path|speaker|language|text")
    path, speaker, language, text = (field.strip() for field in fields)
    return Source(folder / path, speaker, _language(language), text)


def _manifest_line(line: str, folder: Path) -> Source:
    data = json.loads(line)
    return Source(
        folder / data["file"],
        data["speaker"],
        _language(data["lang"]),
        data["text"],
        ("", *data["phonemes"], ""),
        tuple(frames * TEACHER_FRAME_S for frames in data["durations"]),
    )


def _language(name: str) -> str:
    try:
        return Language(name.lower()).value
    except ValueError:
        raise ValueError(f"language is {name!r}, valid: {', '.join(Language)}") from None


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What is done to recordings before features are made of them.

    Attributes:
        denoise: Turn down steady background noise.
        level: Bring every recording to the loudness voices are enrolled at.
        warp: Also encode a copy with other pitch, formants and spectrum, for the token stage.
    """

    denoise: bool = False
    level: bool = False
    warp: bool = False


def prepare(
    sources: Iterable[Source],
    store: FeatureStore,
    encoder: Encoder,
    frontend: Phonemizer,
    config: AcousticConfig,
    *,
    options: PrepareOptions = PrepareOptions(),
    skipped: Sequence[Skipped] = (),
    on_file: Callable[[str], None] = lambda name: None,
) -> Preparation:
    """Fill the store; what is in it already is left as it is.

    Raises:
        CheckpointError: If nothing at all can be used.
    """
    problems = list(skipped)
    new = known = 0
    for source in sources:
        on_file(source.path.name)
        if source.id in store:
            known += 1
            continue
        try:
            entry, features = _features(source, encoder, frontend, config, options)
        except SovitsError as error:
            problems.append(Skipped(source.path.name, str(error)))
            continue
        store.add(entry, features)
        new += 1
    if not len(store):
        first = f"; the first: {problems[0].where}: {problems[0].reason}" if problems else ""
        raise CheckpointError(
            f"no recording can be used ({len(problems)} skipped{first}). Give clean speech of "
            f"{MIN_SECONDS} to {MAX_SECONDS:.0f} s per file and what is said in it"
        )
    return Preparation(new, known, sum(e.seconds for e in store), tuple(problems))


def _features(
    source: Source,
    encoder: Encoder,
    frontend: Phonemizer,
    config: AcousticConfig,
    options: PrepareOptions,
) -> tuple[Entry, Features]:
    recording = _cleaned(read_audio(source.path), options)
    if not source.symbols:
        recording = _trimmed(recording)
    if not MIN_SECONDS <= recording.duration_s <= MAX_SECONDS:
        raise VoiceError(
            f"{recording.duration_s:.1f} s of speech, valid: {MIN_SECONDS} to {MAX_SECONDS:.0f} s",
            code="bad_reference",
        )
    phonemes = frontend.phonemize(source.text, Language(source.language))
    if not len(phonemes):
        raise TextError(f"nothing can be spoken of {source.text!r:.60}")
    unit = FRAMES_PER_TOKEN * config.hop
    samples = recording.at_rate(config.sample_rate_hz)
    num_tokens = len(samples) // unit
    samples = samples[: num_tokens * unit]
    low = recording.at_rate(SSL_RATE_HZ)
    wanted = num_tokens * SSL_RATE_HZ * unit // config.sample_rate_hz
    low = np.pad(low, (0, max(0, wanted - len(low))))[:wanted]
    embedding = encoder.speaker_embedding(low)
    other, stretch = _warped(samples, source, config, encoder) if options.warp else (None, None)
    track = pitch.estimate(samples, config.sample_rate_hz, config.hop)
    features = Features(
        wave=np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16),
        ssl=encoder.ssl_features(low).T[: 2 * num_tokens].astype(np.float16),
        hz=track.hz,
        voiced=track.voiced,
        speaker=np.zeros(0, np.float32) if embedding is None else embedding,
        phoneme_ids=phonemes.ids,
        word_lens=np.array([word.num_phonemes for word in phonemes.words], np.int64),
        warped=other,
        stretch=stretch,
    )
    entry = Entry(
        id=source.id,
        speaker=source.speaker,
        language=source.language,
        text=source.text,
        seconds=len(samples) / config.sample_rate_hz,
        symbols=source.symbols,
        durations_s=source.durations_s,
    )
    return entry, features


def _trimmed(recording: Recording) -> Recording:
    """Cut the silence at both ends, but for a tenth of a second."""
    segments = find_speech(recording.samples, recording.sample_rate_hz).segments
    if not segments:
        raise VoiceError(f"{recording.name} holds no speech", code="bad_reference")
    margin = recording.sample_rate_hz // 10
    return recording.cut(max(0, segments[0].start - margin), segments[-1].end + margin)


def _cleaned(recording: Recording, options: PrepareOptions) -> Recording:
    samples, rate_hz = recording.samples, recording.sample_rate_hz
    if options.denoise:
        samples = denoise(samples, rate_hz)
    if options.level:
        samples = apply_gain(samples, loudness_gain_db(samples, rate_hz))
        peak = float(np.abs(samples).max(initial=0.0))
        samples = samples / np.float32(max(1.0, peak))
    return replace(recording, samples=samples)


def _warped(
    samples: FloatArray, source: Source, config: AcousticConfig, encoder: Encoder
) -> tuple[Array, Array]:
    """Return the SSL features of the recording as somebody else's, and how much longer it is."""
    seed = int(hashlib.sha256(source.id.encode()).hexdigest()[:8], 16)
    copy = warp(samples, np.random.default_rng(seed))
    stretch = len(copy) / len(samples)
    low = resample(copy, config.sample_rate_hz, SSL_RATE_HZ)
    frame = SSL_RATE_HZ * config.hop // config.sample_rate_hz
    low = low[: len(low) // (2 * frame) * 2 * frame]
    features = encoder.ssl_features(low).T.astype(np.float16)
    return features, np.array([stretch], np.float32)
