"""Choosing the next semantic token, in exactly upstream's order.

    logits ─ cut EOS (first 11 steps) ─ repetition penalty ─ top-p ─ / temperature ─ top-k
           ─ softmax ─ argmax(probability / Exp(1) noise)

The order matters and differs from the usual one: the penalty covers the prompt too, top-p comes
before the temperature, and the arg max that may end the sentence is that of the *penalised* logits.

A `Sampler` keeps a sentence's state. The choice itself depends on the logits and a `Draw` alone, so
it is made wherever the logits are: here on the host (`choose`), or on a device by a decoder that
can (`engine.backends.base.ChoosingDecoder`), which draws the same token.

Source: upstream AR/models/utils.py logits_to_probs and t2s_model.py infer_panel_naive @48b1a01.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from engine.errors import EngineFailed, InvalidParameter
from engine.types import FloatArray, IntArray, SynthesisParams

STEPS_WITHOUT_EOS = 11  # upstream t2s_model.py:900: no stop before 11 tokens (0.44 s)
_MIN_TEMPERATURE = 1e-5  # upstream utils.py logits_to_probs


class StopReason(StrEnum):
    """Why a sentence has no more tokens."""

    EOS = "eos"
    LENGTH = "length"  # `max_tokens` were drawn


class Draws(Protocol):
    """Exp(1) draws by token: an array, or what works them out on demand."""

    def __getitem__(self, tokens: IntArray | slice, /) -> FloatArray:
        """Return the draws of these tokens."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """All that the choice of one token depends on beside the logits.

    Attributes:
        params: Only the sampling fields are read.
        seen: int64 [N], the distinct tokens of prompt and sentence so far, in any order.
        may_end: EOS can be chosen.
        noise: Exp(1) draws of all tokens that can be.
    """

    params: SynthesisParams
    seen: IntArray
    may_end: bool
    noise: Draws


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        token: The one that was drawn.
        best: The likeliest one.
        is_finite: False where the logits are NaN or infinite: the tokens mean nothing then.
    """

    token: int
    best: int
    is_finite: bool = True


class Sampler:
    """The sampling state of one sentence.

    Attributes:
        step: Draws made so far; also the address of the next draw's noise.
        stopped: Why it ended, None while it goes on.
    """

    def __init__(
        self,
        params: SynthesisParams,
        prompt_tokens: IntArray,
        *,
        vocab_size: int,
        max_tokens: int = 1500,
    ) -> None:
        """Start a sentence.

        Args:
            params: Only the sampling fields are read.
            prompt_tokens: int64 [T], T >= 0; they count as previous tokens.
            vocab_size: Codebook size + 1; the last id is EOS.
            max_tokens: Stop with LENGTH after this many.

        Raises:
            InvalidParameter: If a prompt token is not in the vocabulary.
        """
        if len(prompt_tokens) and not 0 <= prompt_tokens.min() <= prompt_tokens.max() < vocab_size:
            raise InvalidParameter(
                "prompt_tokens",
                [int(prompt_tokens.min()), int(prompt_tokens.max())],
                f"ids from 0 to {vocab_size - 1}; enrol the voice again with this model",
            )
        self._params = params
        self._eos = vocab_size - 1
        self._max_tokens = max_tokens
        # Distinct previous tokens: a flag to test, a list to index with. Both only grow.
        self._is_seen = np.zeros(vocab_size, dtype=np.bool_)
        self._seen = np.empty(vocab_size, dtype=np.int64)
        self._num_seen = 0
        for token in np.unique(prompt_tokens):
            self._remember(int(token))
        self.step = 0
        self.stopped: StopReason | None = None

    def next_draw(self, noise: Draws) -> Draw:
        """Return what the next choice depends on.

        Args:
            noise: Exp(1) draws of this step, of at least V - 1 tokens; of V where EOS may come.
        """
        seen = self._seen[: self._num_seen]
        return Draw(self._params, seen, self.step >= STEPS_WITHOUT_EOS, noise)

    def take(self, choice: Choice) -> int | None:
        """Go on with what was chosen for the next draw.

        Returns:
            The token, or None when the sentence ended with EOS: the token drawn then is dropped.

        Raises:
            EngineFailed: If a logit is NaN or infinite.
        """
        assert self.stopped is None, "the sentence has ended"
        if not choice.is_finite:
            raise EngineFailed("the T2S network returned logits that are not finite")
        self.step += 1
        if self._eos in (choice.best, choice.token):
            self.stopped = StopReason.EOS
            return None
        self._remember(choice.token)
        if self.step == self._max_tokens:
            self.stopped = StopReason.LENGTH
        return choice.token

    def draw(self, logits: FloatArray, noise: Draws) -> int | None:
        """Draw the next token on the host; see `choose`, `next_draw` and `take`."""
        return self.take(choose(logits, self.next_draw(noise)))

    def _remember(self, token: int) -> None:
        if not self._is_seen[token]:
            self._is_seen[token] = True
            self._seen[self._num_seen] = token
            self._num_seen += 1


def choose(logits: FloatArray, draw: Draw) -> Choice:
    """Choose a token on the host.

    Args:
        logits: float32 [V] as the network gave them, EOS last; not modified.
    """
    row = logits if draw.may_end else logits[:-1]
    row = penalize(row, draw.seen, draw.params.repetition_penalty)
    best = int(row.argmax())  # arg max of the penalised logits; NaN sorts first
    if not np.isfinite(row[best]):
        return Choice(best, best, is_finite=False)
    candidates, probabilities = filter_candidates(row, draw.params)
    return Choice(int(candidates[(probabilities / draw.noise[candidates]).argmax()]), best)


def penalize(logits: FloatArray, seen: IntArray, penalty: float) -> FloatArray:
    """Return a copy of float32 [V] with every distinct token of `seen` penalised once.

    A positive score is divided, a negative one multiplied.
    """
    row = logits.astype(np.float32)  # always a copy
    if penalty != 1.0:
        score = row[seen]
        factor = np.float32(penalty)
        row[seen] = np.where(score < 0, score * factor, score / factor)
    return row


def filter_candidates(row: FloatArray, params: SynthesisParams) -> tuple[IntArray, FloatArray]:
    """Apply top-p, temperature, top-k and softmax to penalised logits.

    Args:
        row: float32 [V].
        params: top_p, temperature and top_k are read.

    Returns:
        The tokens left, int64 [K] ascending, and their probabilities, float32 [K].
    """
    kept = None if params.top_p >= 1.0 else _nucleus(row, params.top_p)  # None: all
    scores = row if kept is None else row[kept]
    if params.temperature != 1.0:
        scores = scores / np.float32(max(params.temperature, _MIN_TEMPERATURE))
    if params.top_k < len(scores):
        place = len(scores) - params.top_k
        # Scores equal to the k-th largest all stay, as upstream's `logits < pivot` keeps them.
        chosen = np.flatnonzero(scores >= np.partition(scores, place)[place])
        kept, scores = chosen if kept is None else kept[chosen], scores[chosen]
    elif kept is None:
        kept = np.arange(len(row))
    weights = np.exp(scores - scores.max())
    return kept, weights / weights.sum()


def _nucleus(row: FloatArray, top_p: float) -> IntArray:
    """Return the tokens, ascending, whose cumulative probability stays within `top_p`.

    The likeliest always stays. Upstream drops the token that crosses the border too. Tokens that
    tie with the last one kept stay as well (upstream keeps any of them).
    """
    # Sorting values and comparing is twice as fast as sorting indices.
    ordered = np.sort(row)[::-1]
    weights = np.exp(ordered - ordered[0])
    num_kept = max(1, int(np.count_nonzero(np.cumsum(weights / weights.sum()) <= top_p)))
    kept: IntArray = np.flatnonzero(row >= ordered[num_kept - 1])
    return kept
