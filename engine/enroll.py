"""From recordings to a Voice.

Two things are taken from reference audio: the *prompt* (semantic tokens and phonemes of the same
words: pace and melody) and the *style vector* (timbre). They may come from different recordings,
and the style vector from several, averaged as upstream does (module/models.py:1011 @48b1a01).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from engine.audio.denoise import denoise as remove_noise
from engine.audio.io import Recording
from engine.audio.loudness import loudness_gain_db
from engine.audio.reference_checks import ReferenceReport, check_reference
from engine.audio.reference_window import Clause, choose_window
from engine.backends.base import ReferenceEncoder
from engine.backends.registry import create_backend
from engine.bert_features import phoneme_bert
from engine.config import EngineConfig
from engine.errors import BackendUnavailable, VoiceError
from engine.model_config import ModelConfig
from engine.pack import Pack, Part
from engine.types import FloatArray, IntArray, Language, Phonemes, Style

SSL_RATE_HZ = 16000
MAX_REFERENCES = 16
_CLAUSE = re.compile(r".*?(?:[，。！？；：、…—,!?;:\n]+|\.+(?=\s|$)|$)\s*", re.DOTALL)
# Speech outside these bounds is not the text that is said to be spoken in it. Training keeps 3 to
# 25 phonemes per second of audio (AR/data/dataset.py:161 @48b1a01).
_PHONEMES_PER_S = (3.0, 25.0)


class Phonemizer(Protocol):
    """The text frontend of a pack's symbol set."""

    def phonemize(self, text: str, language: Language) -> Phonemes:
        """Return the phonemes of a sentence."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """The recording whose manner of speaking is taken, and exactly what is said in it.

    An empty `transcript` gives a style without prompt: timbre only, the manner is the model's own.
    """

    recording: Recording
    transcript: str
    language: Language


@dataclass(frozen=True, slots=True)
class Used:
    """What became of one recording."""

    name: str
    start_s: float
    end_s: float
    report: ReferenceReport


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """A prepared style, and which parts of which recordings it was made from."""

    style: Style
    prompt: Used
    timbre: tuple[Used, ...]


def open_enroller(pack: Pack, backend_name: str | None = None) -> Enroller:
    """Load the networks and dictionaries that voices of `pack` are made with.

    Args:
        backend_name: What computes the features; None: ONNX Runtime where the pack's graphs were
            exported, else torch.

    Raises:
        BackendUnavailable: The pack has no SSL encoder, or the backend cannot run here.
    """
    # Dictionaries of a second or two: only when a voice is really made.
    from engine.text.frontend import Frontend

    if not pack.has(Part.SSL):
        raise BackendUnavailable(
            f"pack {pack.name} was imported without --hubert and cannot enrol voices; import it "
            "again with the folder chinese-hubert-base"
        )
    name = backend_name or ("onnxruntime" if pack.has_graphs else "torch")
    backend = create_backend(name, pack, EngineConfig(backend=name, pack=pack.path, num_slots=1))
    return Enroller.of_pack(backend.reference, Frontend(pack.symbol_set), pack)


class Enroller:
    """Prepares styles with one pack's encoders and frontend."""

    def __init__(
        self,
        encoder: ReferenceEncoder,
        frontend: Phonemizer,
        config: ModelConfig,
        *,
        prompts: bool = True,
        lead_in: Sequence[int] = (),
    ) -> None:
        """Take a pack's encoders.

        Args:
            prompts: `PackInfo.prompts`; without, transcripts are checked and left out.
            lead_in: `PackInfo.lead_in`.
        """
        self._encoder = encoder
        self._frontend = frontend
        self._config = config
        self._prompts = prompts
        self._lead_in = np.array(lead_in, np.int64)

    @classmethod
    def of_pack(cls, encoder: ReferenceEncoder, frontend: Phonemizer, pack: Pack) -> Enroller:
        """Return one that makes voices of `pack`, with that pack's `encoder`."""
        info = pack.info
        return cls(encoder, frontend, pack.config, prompts=info.prompts, lead_in=info.lead_in)

    def enroll(
        self, prompt: Prompt, timbre: Sequence[Recording] = (), *, denoise: bool = False
    ) -> Enrolment:
        """Prepare one style.

        Args:
            timbre: Where the style vector comes from; the prompt's recording when empty. Their
                words do not matter.
            denoise: Turn down steady background noise first.

        Raises:
            VoiceError: A recording that cannot be a reference, or a transcript that does not fit.
            TextError: A transcript that cannot be spoken.
        """
        if len(timbre) > MAX_REFERENCES:
            raise VoiceError(
                f"{len(timbre)} references were given, valid: up to {MAX_REFERENCES}",
                code="bad_reference",
            )
        spoken, cut, transcript = self._prompt_part(prompt)
        spoken = _cleaned(spoken, denoise)
        report = _checked(spoken)
        phonemes = self._prompt_phonemes(transcript, prompt.language, report, spoken.name)
        if not self._prompts:
            phonemes, transcript = None, ""
        parts = [(spoken, _used(spoken, cut, report))]
        if timbre:
            parts = [_timbre_part(recording, denoise) for recording in timbre]
        vector, embedding, gain_db = self._timbre([part for part, _ in parts])
        style = Style(
            prompt_phoneme_ids=phonemes.ids if phonemes else np.zeros(0, np.int64),
            prompt_tokens=self._tokens(spoken) if phonemes else self._lead_in,
            vector=vector,
            language=prompt.language,
            transcript=transcript,
            prompt_bert=self._bert(phonemes) if phonemes else None,
            speaker_embedding=embedding,
            gain_db=gain_db,
        )
        return Enrolment(style, _used(spoken, cut, report), tuple(used for _, used in parts))

    def _prompt_part(self, prompt: Prompt) -> tuple[Recording, int, str]:
        """Return the part of the recording that is used, where it starts, and its words."""
        text = prompt.transcript.strip()
        clauses = self._clauses(text, prompt.language) if text else []
        window = choose_window(prompt.recording, clauses)
        if clauses:
            first, last = clauses[window.first_clause], clauses[window.end_clause - 1]
            text = text[first.start : last.end].strip()
        return prompt.recording.cut(window.start, window.end), window.start, text

    def _clauses(self, text: str, language: Language) -> list[Clause]:
        phonemes = self._frontend.phonemize(text, language)
        clauses = []
        for match in _CLAUSE.finditer(text):
            if match.end() > match.start():
                count = sum(
                    word.num_phonemes
                    for word in phonemes.words
                    if match.start() <= word.start < match.end() and _is_word(word.text)
                )
                clauses.append(Clause(match.start(), match.end(), count))
        return clauses

    def _prompt_phonemes(
        self, text: str, language: Language, report: ReferenceReport, name: str
    ) -> Phonemes | None:
        """Return the prompt's phonemes; None without a transcript."""
        if not text:
            return None
        phonemes = without_lead_in(self._frontend.phonemize(text, language))
        count = sum(word.num_phonemes for word in phonemes.words if _is_word(word.text))
        rate = count / max(report.speech_s, 0.1)
        low, high = _PHONEMES_PER_S
        if not low <= rate <= high:
            raise VoiceError(
                f"the text has {count} phonemes for {report.speech_s:.1f} s of speech in {name} "
                f"({rate:.1f} per second, usual are {low:g} to {high:g}); check that --text is "
                "exactly what is said and that --lang is right",
                code="bad_reference",
            )
        return phonemes

    def _tokens(self, spoken: Recording) -> IntArray:
        return self._encoder.semantic_tokens(spoken.at_rate(SSL_RATE_HZ))

    def _bert(self, phonemes: Phonemes) -> FloatArray | None:
        dim = self._config.bert.dim if self._config.bert else self._config.t2s.bert_dim
        return phoneme_bert(phonemes, self._encoder.bert, dim)

    def _timbre(
        self, recordings: Sequence[Recording]
    ) -> tuple[FloatArray, FloatArray | None, float]:
        """Return the mean style vector, the mean speaker embedding and the gain to our loudness."""
        rate = self._config.acoustic.sample_rate_hz
        waves = [_peak_limited(recording.at_rate(rate)) for recording in recordings]
        vectors, embeddings = [], []
        for wave in waves:
            at_16k = Recording(wave, rate).at_rate(SSL_RATE_HZ)
            embedding = self._encoder.speaker_embedding(at_16k)
            vectors.append(self._encoder.style_vector(wave, embedding))
            if embedding is not None:
                embeddings.append(embedding)
        vector: FloatArray = np.mean(vectors, axis=0, dtype=np.float32)
        mean: FloatArray | None = None
        if embeddings:
            mean = np.mean(embeddings, axis=0, dtype=np.float32)
        return vector, mean, loudness_gain_db(np.concatenate(waves), rate)


def _timbre_part(recording: Recording, denoise: bool) -> tuple[Recording, Used]:
    window = choose_window(recording)
    part = _cleaned(recording.cut(window.start, window.end), denoise)
    return part, _used(part, window.start, _checked(part))


def _cleaned(recording: Recording, denoise: bool) -> Recording:
    if not denoise:
        return recording
    rate = recording.sample_rate_hz
    return replace(recording, samples=remove_noise(recording.samples, rate))


def _checked(recording: Recording) -> ReferenceReport:
    report = check_reference(recording.samples, recording.sample_rate_hz)
    if report.fatal is not None:
        raise VoiceError(f"{recording.name}: {report.fatal.message}", code="bad_reference")
    return report


def _used(part: Recording, start: int, report: ReferenceReport) -> Used:
    start_s = start / part.sample_rate_hz
    return Used(part.name, start_s, start_s + part.duration_s, report)


def _peak_limited(wave: FloatArray) -> FloatArray:
    """Scale a wave over full scale as upstream does (TTS.py:787 @48b1a01)."""
    peak = float(np.abs(wave).max(initial=0.0))
    return wave / np.float32(min(2.0, peak)) if peak > 1 else wave


def without_lead_in(phonemes: Phonemes) -> Phonemes:
    """Return `phonemes` without marks the frontend put before the first word.

    They make the model take a breath before a short sentence. In a prompt they would stand for a
    pause that is not in the recording; upstream adds none there either.
    """
    drop = 0
    for word in phonemes.words:
        if word.start < word.end or _is_word(word.text):
            break
        drop += 1
    skipped = sum(word.num_phonemes for word in phonemes.words[:drop])
    return replace(
        phonemes,
        ids=phonemes.ids[skipped:],
        symbols=phonemes.symbols[skipped:],
        words=phonemes.words[drop:],
    )


def _is_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
