"""One sentence's life inside the engine: waiting, decoding in a slot, speaking what is left."""

from __future__ import annotations

import numpy as np

from engine.chunking import ChunkSchedule
from engine.collapse import Collapse, CollapseGuard, token_limit
from engine.noise import exponential
from engine.playout import PlayoutClock
from engine.sampling import Sampler
from engine.scheduler import JobView, Phase
from engine.types import TOKEN_HZ, FloatArray, IntArray, SentenceJob, Style
from engine.vocoding import VocoderStream

MAX_RETRIES = 2  # new draws after a collapse, while nothing of the sentence has been heard
_SEED_STRIDE = 0x9E3779B97F4A7C15  # odd, so that retries of one seed never meet another's soon
# Typical speech; only used to guess how long the sentences before this one will still take.
_SECONDS_PER_PHONEME = 0.1


class Job:
    """State of one sentence; the worker's lock guards every call but the networks' own."""

    def __init__(
        self, job: SentenceJob, style: Style, clock: PlayoutClock, *, vocab_size: int
    ) -> None:
        self.job = job
        self.style = style
        self.clock = clock
        self.phase = Phase.WAITING
        self.slot: int | None = None
        self.tokens: list[int] = []
        self.vocoder: VocoderStream | None = None  # made by the acoustic lane with the first chunk
        self.num_spoken = 0  # tokens given out as audio or being vocoded
        self.produced_s = 0.0  # audio of this sentence given out, its pause included
        self.is_in_step = False  # a lane's network call is working on it
        self.is_vocoding = False
        self.is_cancelled = False
        self.attempt = 0
        self.collapse: Collapse | None = None
        self._vocab_size = vocab_size
        self._begin()

    def _begin(self) -> None:
        self.tokens = []
        self._guard = CollapseGuard(len(self.job.phonemes))
        self._sampler = Sampler(
            self.job.params,
            self.style.prompt_tokens,
            vocab_size=self._vocab_size,
            max_tokens=token_limit(len(self.job.phonemes)),
        )

    @property
    def prefill_size(self) -> int:
        """Positions the prefill takes: phonemes and prompt tokens."""
        style = self.style
        return len(style.prompt_phoneme_ids) + len(self.job.phonemes) + len(style.prompt_tokens)

    def take_logits(self, logits: FloatArray) -> None:
        """Draw the next token from float32 [V]; ends decoding on EOS, length or collapse."""
        seed = (self.job.params.seed + self.attempt * _SEED_STRIDE) % 2**63
        noise = exponential(seed, self.job.sentence_index, self._sampler.step, len(logits))
        token = self._sampler.draw(logits, noise)
        if token is None:
            self.phase = Phase.SPEAKING
            return
        self.tokens.append(token)
        collapse = self._guard.check(self.tokens)
        if collapse is not None:
            self._collapsed(collapse)

    def _collapsed(self, collapse: Collapse) -> None:
        """Start over with other draws while nothing was heard, else stop where it was healthy."""
        self.collapse = collapse
        if self.num_spoken == 0 and self.attempt < MAX_RETRIES:
            self.attempt += 1
            self.phase = Phase.WAITING
            self._begin()
            return
        healthy = self._guard.healthy_length(self.tokens, collapse)
        # One token stays to be spoken: the sentence's last chunk ends it.
        del self.tokens[max(healthy, self.num_spoken + 1) :]
        self.phase = Phase.SPEAKING

    def next_chunk(self, schedule: ChunkSchedule, now_s: float) -> tuple[int, int]:
        """Return (tokens in the next chunk, decode steps until it can be vocoded)."""
        wanted = schedule.next_tokens(self.num_spoken, self.clock.lead_s(now_s))
        left = len(self.tokens) - self.num_spoken
        if self.phase is Phase.SPEAKING:
            return min(wanted, left), 0
        lookahead = VocoderStream.lookahead(self.job.params.mode, first=self.num_spoken == 0)
        if lookahead is None:
            expected = 2 * len(self.job.phonemes)
            return wanted, max(1, expected - len(self.tokens))
        return wanted, max(0, wanted + lookahead - left)

    def view(self, schedule: ChunkSchedule, deadline_s: float, now_s: float) -> JobView:
        """Return what the scheduler may know."""
        chunk, missing = self.next_chunk(schedule, now_s)
        return JobView(
            job_id=self.job.job_id,
            sentence_index=self.job.sentence_index,
            utterance_id=self.job.utterance_id,
            phase=self.phase,
            deadline_s=deadline_s,
            tokens_to_chunk=missing,
            chunk_tokens=chunk,
            has_credit=self.clock.has_credit,
            prefill_size=self.prefill_size,
        )

    @property
    def expected_rest_s(self) -> float:
        """Guess how many seconds of audio this sentence still has to give."""
        if self.phase is Phase.SPEAKING:
            return (len(self.tokens) - self.num_spoken) / TOKEN_HZ
        return max(0.0, _SECONDS_PER_PHONEME * len(self.job.phonemes) - self.produced_s)

    def known_tokens(self) -> IntArray:
        """Return a copy of the tokens so far, int64 [T]."""
        return np.array(self.tokens, dtype=np.int64)
