"""What a backend must offer: networks as pure functions over numpy arrays.

Sampling, chunking, halos, noise and scheduling stand above this line, once, and are the same for
every backend; one whose logits are on a device may choose the tokens there (`ChoosingDecoder`).
Weights are shared; the only state is the KV cache, addressed by slot.

Shapes: P phonemes, T tokens, F = 2T frames, B rows, V vocabulary, D latent, G style vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engine.model_config import ModelConfig
from engine.sampling import Choice, Draw
from engine.types import FloatArray, IntArray


class SemanticDecoder(Protocol):
    """The T2S network with a KV cache of `num_slots` independent rows."""

    @property
    def num_slots(self) -> int:
        """How many sentences can be decoded at once."""
        ...

    @property
    def max_positions(self) -> int:
        """Phonemes + prompt tokens + generated tokens a slot can hold."""
        ...

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """Fill `slot` and return the first logits, float32 [V].

        Args:
            phoneme_ids: int64 [P], prompt then target.
            bert: float32 [bert_dim, P], or None for zeros.
            prompt_tokens: int64 [T], T >= 0.
        """
        ...

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """Append one token to each slot and return logits, float32 [B, V].

        Rows are independent. When it raises, no slot has changed.
        """
        ...

    def rewind(self, slot: int, num_tokens: int) -> None:
        """Forget the last `num_tokens` tokens given to `decode`; fewer than were given."""
        ...

    def release(self, slot: int) -> None:
        """Forget what `slot` holds."""
        ...


@runtime_checkable
class ChoosingDecoder(SemanticDecoder, Protocol):
    """A decoder that chooses tokens where its logits are; they stay there."""

    def choose(
        self, slots: Sequence[int], tokens: IntArray, draws: Sequence[Draw]
    ) -> Sequence[Choice]:
        """Append one token to each slot and choose the next of each.

        As `engine.sampling.choose` does with what `decode` would return. When it raises, no slot
        has changed.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextEncoding:
    """The prior encoder's view of a sentence's phonemes and style, computed once per sentence.

    `data` is the backend's own; nothing above the backend looks into it.
    """

    data: Any
    num_phonemes: int


@dataclass(frozen=True, slots=True, eq=False)
class PriorStats:
    """What the prior encoder says of a window of tokens.

    Shapes: mean, log_std float32 [D, F]; attention float32 [F, P] (MRTE weights, mean of heads)
    or None where the backend does not give it.
    """

    mean: FloatArray
    log_std: FloatArray
    attention: FloatArray | None = None


class AcousticModel(Protocol):
    """Prior encoder, flow and decoder. Batch of one; time is the last axis."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveform."""
        ...

    @property
    def hop(self) -> int:
        """Samples per frame."""
        ...

    @property
    def latent_dim(self) -> int:
        """D."""
        ...

    @property
    def source_rows(self) -> int:
        """Rows the decoder takes beyond the latent (see `engine.latent_stream`), 0 for most."""
        ...

    @property
    def flow_halo(self) -> int:
        """Frames of context each side that make `flow` exact."""
        ...

    @property
    def decoder_halo(self) -> int:
        """Frames of context each side that make `decoder` exact."""
        ...

    @property
    def decoder_widths(self) -> Sequence[int]:
        """Lengths of frames to be heard that `decoder` is best called with; empty: any length."""
        ...

    def encode_text(self, phoneme_ids: IntArray, style: FloatArray) -> TextEncoding:
        """Encode the target phonemes, int64 [P], under style vector float32 [G]."""
        ...

    def prior(self, tokens: IntArray, text: TextEncoding) -> PriorStats:
        """Return statistics of the 2T frames of `tokens`, int64 [T], which is all it sees."""
        ...

    def flow(self, latent: FloatArray, style: FloatArray) -> FloatArray:
        """Run the reversed flow: float32 [D, F] -> [D, F], or [D + 1, F] with source rows."""
        ...

    def decoder(
        self, latent: FloatArray, style: FloatArray, before: int = 0, after: int = 0
    ) -> FloatArray:
        """Return the waveform of float32 [D + source_rows, F], in [-1, 1].

        The first `before` and the last `after` frames are context: no samples of theirs are
        returned, float32 [(F - before - after) * hop], and a backend may save their work.
        """
        ...


class ReferenceEncoder(Protocol):
    """The enrolment side: what turns reference audio and text into a Style."""

    def semantic_tokens(self, samples_16k: FloatArray) -> IntArray:
        """Return the prompt tokens, int64 [T], of a mono 16 kHz wave in [-1, 1]."""
        ...

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        """Return float32 [S], or None where the pack has no speaker network."""
        ...

    def style_vector(self, samples: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """Return float32 [G] from a wave at the pack's rate and the speaker embedding."""
        ...

    def bert(self, text: str) -> FloatArray | None:
        """Return one row per character, float32 [len(text), bert_dim]; None: pack has no BERT."""
        ...


class Backend(Protocol):
    """A loaded model pack on one device."""

    @property
    def config(self) -> ModelConfig:
        """Every number of the model."""
        ...

    @property
    def semantic(self) -> SemanticDecoder:
        """The T2S stage."""
        ...

    @property
    def acoustic(self) -> AcousticModel:
        """The SoVITS stage."""
        ...

    @property
    def reference(self) -> ReferenceEncoder:
        """The enrolment side, and BERT."""
        ...

    @property
    def notice(self) -> str:
        """For `ready` and logs, such as "random weights, no speech"; "" when nothing to say."""
        ...

    def describe(self) -> dict[str, str]:
        """Return runtime, device, precision and providers really in use, for logs and `ready`."""
        ...
