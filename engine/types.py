"""What flows through the engine: numpy and plain values only, picklable, immutable.

The path of one request (who makes what, who takes it):

    text deltas ──splitter──> Sentence ──frontend pool──> Phonemes ┐
                                             Voice, SynthesisParams ┴──> SentenceJob ──engine──>
    prefill ──> decode steps ──> semantic tokens ──vocoder──> AudioChunk ──server──> Opus packets

Shapes: P phonemes, T semantic tokens (25 Hz), F = 2T frames (50 Hz), N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParameter

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Array = NDArray[Any]

TOKEN_HZ = 25  # semantic tokens per second, every version
FRAMES_PER_TOKEN = 2  # a frame is 20 ms
MAX_LEADING_SILENCE_MS = 2000


class Language(StrEnum):
    """A language a text is spoken in; AUTO finds it piece by piece."""

    ZH = "zh"
    EN = "en"
    JA = "ja"
    KO = "ko"
    YUE = "yue"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Sentence:
    """The unit of synthesis, cut from an utterance's text stream.

    `text` is exactly `utterance_text[start:end]`: the sentences of an utterance, joined, are the
    text that was received.
    """

    index: int  # position within the utterance, from 0
    text: str
    start: int  # characters from the beginning of the utterance's text
    end: int
    pause_ms: int = 0  # silence to append after it
    is_final: bool = False  # the utterance's last


@dataclass(frozen=True, slots=True)
class Word:
    """A run of phonemes that belongs together: one Chinese character, one English word, one mark.

    `text` is the normalized form; `start:end` are character offsets of what it was made from in
    the sentence as received (several words may share a source: "15" gives two characters).
    """

    text: str
    language: Language
    num_phonemes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Phonemes:
    """A sentence in the symbol inventory of a model pack.

    `ids` is int64 [P]; the `num_phonemes` of `words` sum to P. Consecutive Chinese words are one
    BERT segment; all other phonemes get BERT zeros, as upstream does.
    """

    ids: IntArray
    symbols: tuple[str, ...]  # the names of `ids`, length P
    words: tuple[Word, ...]
    normalized_text: str

    def __post_init__(self) -> None:
        assert self.ids.dtype == np.int64 and self.ids.ndim == 1
        assert len(self.symbols) == len(self.ids)
        assert sum(word.num_phonemes for word in self.words) == len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class StreamMode(StrEnum):
    """How many tokens are held back before a frame is frozen; see engine/vocoding.py."""

    EXACT = "exact"  # the whole sentence before its first sample
    BALANCED = "balanced"
    FAST = "fast"


def _check(name: str, value: object, low: float, high: float, *, kind: type = float) -> None:
    """Raise InvalidParameter unless `value` is a number of `kind` within [low, high]."""
    number = isinstance(value, int) if kind is int else isinstance(value, int | float)
    if not number or isinstance(value, bool) or not low <= value <= high:  # type: ignore[operator]
        noun = "an integer" if kind is int else "a number"
        raise InvalidParameter(name, value, f"{noun} from {low:g} to {high:g}")


def _check_sampling(sampling: Sampling | SynthesisParams) -> None:
    _check("top_k", sampling.top_k, 1, 1025, kind=int)
    _check("top_p", sampling.top_p, 0.01, 1.0)
    _check("temperature", sampling.temperature, 0.01, 2.0)
    _check("repetition_penalty", sampling.repetition_penalty, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn where a request does not say; a pack may have its own.

    Defaults are upstream's (TTS.py @48b1a01).
    """

    top_k: int = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35

    def __post_init__(self) -> None:
        _check_sampling(self)


@dataclass(frozen=True, slots=True)
class SynthesisParams:
    """How a sentence is sampled and spoken; sampling defaults are those of `Sampling`."""

    top_k: int = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    speed: float = 1.0  # 2.0 is twice as fast
    noise_scale: float = 0.5  # of the latent prior
    seed: int = 0  # audio is a function of seed, text, voice and parameters
    mode: StreamMode = StreamMode.BALANCED
    # At most this much before the speech of a sentence; None: as engine.leading_silence has it.
    leading_silence_ms: int | None = None

    def __post_init__(self) -> None:
        _check_sampling(self)
        _check("speed", self.speed, 0.5, 2.0)
        _check("noise_scale", self.noise_scale, 0.0, 1.0)
        _check("seed", self.seed, 0, 2**63 - 1, kind=int)
        if self.leading_silence_ms is not None:
            most = MAX_LEADING_SILENCE_MS
            _check("leading_silence_ms", self.leading_silence_ms, 0, most, kind=int)
        if self.mode not in tuple(StreamMode):
            valid = ", ".join(StreamMode)
            raise InvalidParameter("mode", self.mode, valid)

    def updated(self, changes: Mapping[str, object]) -> Self:
        """Return a copy with `changes`.

        Raises:
            InvalidParameter: On an unknown field or a value out of range.
        """
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                raise InvalidParameter("parameter", name, ", ".join(sorted(known)))
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """One prepared reference: what conditions the T2S (prompt) and the vocoder (style vector).

    Shapes: prompt_phoneme_ids int64 [P], prompt_bert float32 [bert_dim, P] or None when all zero,
    prompt_tokens int64 [T], vector float32 [gin], speaker_embedding float32 [S] or None.
    """

    prompt_phoneme_ids: IntArray
    prompt_tokens: IntArray
    vector: FloatArray
    language: Language
    transcript: str
    prompt_bert: FloatArray | None = None
    speaker_embedding: FloatArray | None = None
    gain_db: float = 0.0  # applied to every sample spoken in this style


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A prepared voice, bound to the model pack it was enrolled with."""

    id: str
    pack_fingerprint: str
    styles: Mapping[str, Style]  # "default" always exists
    description: str = ""
    consent: str = ""  # who agreed to the use of this voice, in the enroller's words


class Priority(StrEnum):
    """How urgent a listener is; see engine/job.py for what it is worth."""

    TELEPHONY = "telephony"
    LIVE = "live"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, eq=False)
class SentenceJob:
    """One sentence for the engine.

    `job_id` is unique within an engine's life. Jobs of one utterance are given in order and their
    audio comes out in that order.
    """

    job_id: int
    utterance_id: str  # unique within an engine's life, not the client's own id
    sentence_index: int
    phonemes: Phonemes
    voice_id: str
    style: str = "default"
    params: SynthesisParams = field(default_factory=SynthesisParams)
    pause_ms: int = 0  # silence appended to its audio
    priority: Priority = Priority.LIVE


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """PCM from one or more vocoder steps: float32 [N], mono, in [-1, 1].

    Chunks of a job come in order; `is_final` marks the last, which may be empty. Samples and
    `num_trimmed` of all chunks together are the tokens' 40 ms each (at speed 1) and the pause.
    """

    job_id: int
    sentence_index: int
    samples: FloatArray
    sample_rate_hz: int
    is_final: bool
    num_tokens: int = 0  # semantic tokens this chunk was made from
    token_phonemes: IntArray | None = None  # [num_tokens] index of the phoneme spoken, monotone
    busy_s: float = 0.0  # the networks' time for this job since its last chunk: its share of steps
    num_trimmed: int = 0  # samples of its tokens left out before `samples`; of a first chunk only

    def __post_init__(self) -> None:
        assert self.samples.dtype == np.float32 and self.samples.ndim == 1
