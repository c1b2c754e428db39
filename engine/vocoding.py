"""From semantic tokens to audio while the tokens are still being made.

The prior encoder attends to everything it is given, so the statistics of a frame change as tokens
arrive. A frame is frozen when its audio leaves; until then its statistics are provisional and are
computed anew with every step. `lookahead` says how many tokens beyond a frame must be known before
it may be frozen; what the prior sees of the past is bounded, so a step costs the same at the start
and at the end of a sentence.

Noise is a function of (seed, sentence, frame): chunked and whole synthesis draw the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.backends.base import AcousticModel, PriorStats
from engine.latent_stream import LatentStream
from engine.model_config import AcousticConfig
from engine.noise import normal
from engine.types import (
    FRAMES_PER_TOKEN,
    FloatArray,
    IntArray,
    Phonemes,
    StreamMode,
    SynthesisParams,
)
from engine.vocoding_math import interpolate, stretched_length

# Nothing is lost by it on nano, whose prior encoder sees a bounded span.
_HISTORY_TOKENS = 50
# Against the offline result nano's 5 tokens leave 5 to 44 dB, 7 leave 45 to 81 dB.
_BALANCED = 7
# Official models attend to everything, so only the whole sentence is exact and more lookahead buys
# little: at full size (random weights) 2, 4, 7 and 10 tokens leave 69.0, 70.2, 71.6 and 72.5 dB.
# Every token of it delays the first packet by a decode step.
_BALANCED_UNBOUNDED = 4
_FAST, _FAST_FIRST = 4, 2


def lookahead(mode: StreamMode, config: AcousticConfig) -> tuple[int, int] | None:
    """Return the tokens that must be known beyond the first chunk and beyond any other.

    None: the whole sentence must be known.
    """
    if mode is StreamMode.EXACT:
        return None
    if mode is StreamMode.FAST:
        return _FAST_FIRST, _FAST
    balanced = _BALANCED_UNBOUNDED if config.prior_reach is None else _BALANCED
    return balanced, balanced


@dataclass(frozen=True, slots=True, eq=False)
class VocoderOutput:
    """Audio of the tokens frozen by one step.

    Shapes: samples float32 [N]; token_phonemes int64 [num_tokens] or None where the backend gives
    no attention.
    """

    samples: FloatArray
    num_tokens: int
    token_phonemes: IntArray | None


class VocoderStream:
    """One sentence's vocoder state. Not thread-safe; tokens are passed in whole each time."""

    def __init__(
        self,
        model: AcousticModel,
        phonemes: Phonemes,
        style: FloatArray,
        *,
        sentence_index: int,
        params: SynthesisParams,
    ) -> None:
        self._model = model
        self._params = params
        self._sentence_index = sentence_index
        self._history = None if params.mode is StreamMode.EXACT else _HISTORY_TOKENS
        self._text = model.encode_text(phonemes.ids, style)
        self._latents = LatentStream(model, style)
        self._num_frozen_tokens = 0
        self._num_frozen_frames = 0  # after stretching, which is what noise and audio count
        self._whole_stats: PriorStats | None = None
        self._phoneme = 0  # the last phoneme spoken; alignment never goes back

    def step(self, tokens: IntArray, num_new: int, *, final: bool) -> VocoderOutput:
        """Freeze the next `num_new` tokens and return their audio.

        Args:
            tokens: int64 [T]: every token of the sentence known so far.
            num_new: At least 1; the lookahead must stay known beyond it unless `final`.
            final: True when `tokens` is complete; `num_new` may still be less than what is left.

        Returns:
            At speed 1, 2 * num_new * hop samples.
        """
        start = self._num_frozen_tokens
        end = start + num_new
        history = self._history
        window_start = 0 if history is None else max(0, start - history)
        stats = self._whole_stats or self._model.prior(tokens[window_start:], self._text)
        if final and history is None:
            self._whole_stats = stats  # of the whole sentence: nothing can change them any more

        # Begins at the first frame not frozen yet.
        latent = self._sample(stats, window_start, len(tokens), final=final)
        num_frames = self._frames_until(end) - self._num_frozen_frames
        if final and end == len(tokens):
            num_frames = latent.shape[1]
        samples = self._latents.step(latent[:, :num_frames], latent[:, num_frames:])
        self._num_frozen_frames += num_frames
        self._num_frozen_tokens = end
        aligned = self._align(stats, start - window_start, end - window_start)
        return VocoderOutput(samples, num_new, aligned)

    def _frames_until(self, num_tokens: int) -> int:
        """Return how many output frames lie before the end of token `num_tokens`."""
        return int(num_tokens * FRAMES_PER_TOKEN / self._params.speed)

    def _sample(
        self, stats: PriorStats, window_start: int, num_tokens: int, *, final: bool
    ) -> FloatArray:
        """Draw the latents of every output frame from the first unfrozen one on: [D, F]."""
        first = self._num_frozen_frames
        speed = self._params.speed
        if speed == 1.0:
            skip = first - window_start * FRAMES_PER_TOKEN
            mean, log_std = stats.mean[:, skip:], stats.log_std[:, skip:]
        else:
            # Upstream stretches a whole sentence to int(F / speed) + 1 frames.
            num_source = num_tokens * FRAMES_PER_TOKEN
            end = stretched_length(num_source, speed) if final else int(num_source / speed)
            ratio = num_source / end if self._whole_stats is not None else speed
            frames = np.arange(first, end, dtype=np.float64)
            positions = (frames + 0.5) * ratio - 0.5 - window_start * FRAMES_PER_TOKEN
            mean = interpolate(stats.mean, positions)
            log_std = interpolate(stats.log_std, positions)
        noise = normal(self._params.seed, self._sentence_index, first, mean.shape[1], mean.shape[0])
        scale = np.float32(self._params.noise_scale)
        return np.asarray(mean + noise * np.exp(log_std) * scale, np.float32)

    def _align(self, stats: PriorStats, start: int, end: int) -> IntArray | None:
        """Return the phoneme each token in [start, end) of the window speaks, never going back."""
        if stats.attention is None:
            return None
        frames = stats.attention[start * FRAMES_PER_TOKEN : end * FRAMES_PER_TOKEN]
        per_token = frames.reshape(end - start, FRAMES_PER_TOKEN, -1).mean(axis=1)
        aligned = np.empty(end - start, np.int64)
        for index, weights in enumerate(per_token):
            # At most a few phonemes pass in 40 ms; looking further would jump on repeated sounds.
            ahead = weights[self._phoneme : self._phoneme + 4]
            self._phoneme += int(np.argmax(ahead))
            aligned[index] = self._phoneme
        return aligned
