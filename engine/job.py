"""One sentence's life inside the engine: waiting, decoding in a slot, speaking what is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.chunking import Chunk, ChunkPlan, ChunkSchedule
from engine.collapse import Collapse, CollapseGuard, token_limit
from engine.errors import TextError
from engine.leading_silence import LeadingSilence, kept_ms
from engine.limiter import limit
from engine.model_config import ModelConfig
from engine.noise import ExponentialDraws
from engine.playout import PlayoutClock
from engine.sampling import Choice, Draw, Sampler, choose
from engine.scheduler import JobView, Phase
from engine.types import (
    TOKEN_HZ,
    AudioChunk,
    FloatArray,
    IntArray,
    Priority,
    SentenceJob,
    Style,
)
from engine.vocoding import VocoderOutput, VocoderStream, lookahead

# What a class is worth in seconds before silence: a live stream goes before a telephone call when
# it is that much nearer to it, a batch job when nobody else would run dry for so long. Slack
# shrinks with time, so nobody waits for ever.
_HEAD_START_S = {Priority.TELEPHONY: 0.3, Priority.LIVE: 0.0, Priority.BATCH: -5.0}
MAX_RETRIES = 2  # times a collapsed sentence goes on from its last healthy token with other draws
_SEED_STRIDE = 0x9E3779B97F4A7C15  # odd, so that retries of one seed never meet another's soon
# Typical speech; only used to guess how long the sentences before this one will still take.
_SECONDS_PER_PHONEME = 0.1


class Job:
    """State of one sentence; the worker's lock guards all but `next_draw`, `draw` and `hear`."""

    def __init__(
        self,
        job: SentenceJob,
        style: Style,
        clock: PlayoutClock,
        *,
        config: ModelConfig,
        max_positions: int,
        schedule: ChunkSchedule,
    ) -> None:
        """Begin waiting.

        Args:
            config: Of the model that speaks.
            schedule: Sizes of its chunks.
            max_positions: What a slot holds; fewer tokens are made if they would not fit.

        Raises:
            TextError: Phonemes and prompt leave no room for a token.
        """
        self.job = job
        self.style = style
        self.clock = clock
        self.phase = Phase.WAITING
        self.slot: int | None = None
        self.tokens: list[int] = []
        self.vocoder: VocoderStream | None = None  # made by an acoustic lane
        self.chunks: deque[Chunk] = deque()  # cut and waiting for the acoustic lane
        self.num_spoken = 0  # tokens given out as audio or being vocoded
        self.busy_s = 0.0  # the networks' time for it that no chunk has told yet
        self.produced_s = 0.0  # audio of this sentence given out, its pause included
        self.is_in_step = False  # a lane's network call is working on it
        self.is_cancelled = False
        self.attempt = 0
        self.collapse: Collapse | None = None
        self._silence: LeadingSilence | None = None  # begun with the first vocoder step
        self._unheard: list[VocoderOutput] = []  # steps without samples of their own yet
        self._vocab_size = config.t2s.vocab_size
        prompt = len(style.prompt_phoneme_ids) + len(style.prompt_tokens)
        self.prefill_size = prompt + len(job.phonemes)  # positions
        room = max_positions - self.prefill_size
        if room < 1:
            raise TextError(
                f"a sentence of {len(job.phonemes)} phonemes does not fit into {max_positions} "
                "positions with this voice; send shorter sentences or raise engine.max_positions",
                code="text_too_long",
            )
        self._max_tokens = min(room, token_limit(len(job.phonemes)))
        self._guard = CollapseGuard(len(job.phonemes))
        self._sampler = self._new_sampler()
        self._plan = ChunkPlan(
            schedule,
            sentence_index=job.sentence_index,
            lookahead=lookahead(job.params.mode, config.acoustic),
        )

    def _new_sampler(self) -> Sampler:
        """Return a sampler that has seen the prompt and the tokens so far."""
        generated = np.array(self.tokens, np.int64)
        sampler = Sampler(
            self.job.params,
            np.concatenate([self.style.prompt_tokens, generated]),
            vocab_size=self._vocab_size,
            max_tokens=self._max_tokens,
        )
        sampler.step = len(generated)
        return sampler

    def next_draw(self) -> Draw:
        """Return what the choice of the next token depends on; needs no lock."""
        seed = (self.job.params.seed + self.attempt * _SEED_STRIDE) % 2**63
        step = self._sampler.step
        noise = ExponentialDraws(seed, self.job.sentence_index, step, self._vocab_size)
        return self._sampler.next_draw(noise)

    def draw(self, result: FloatArray | Choice) -> int | None:
        """Draw the next token from float32 [V], None at the end; needs no lock.

        Args:
            result: Logits, or what a device has chosen for `next_draw`.

        Raises:
            EngineFailed: If a logit is not finite.
        """
        choice = result if isinstance(result, Choice) else choose(result, self.next_draw())
        return self._sampler.take(choice)

    def take(self, token: int | None) -> int:
        """Take what was drawn; ends decoding on EOS, length or collapse.

        Returns:
            How many of the last tokens the cache must forget: more than 0 after a collapse, when
            the sentence goes on from its last healthy token.
        """
        forgotten = 0
        if token is not None:
            self.tokens.append(token)
            collapse = self._guard.check(self.tokens)
            if collapse is not None:
                forgotten = self._recover(collapse)
        if self._sampler.stopped is not None:
            self.phase = Phase.SPEAKING
        is_complete = self.phase is Phase.SPEAKING
        self.chunks.extend(self._plan.cut(self.tokens, is_complete=is_complete))
        return forgotten

    def _recover(self, collapse: Collapse) -> int:
        """Drop the tokens of a collapse and draw on differently, or end the sentence there.

        Tokens that are in chunks stay, heard or not: what is said must not depend on how fast it
        was vocoded. Returns how many tokens the cache must forget.
        """
        self.collapse = collapse
        healthy = self._guard.healthy_length(self.tokens, collapse)
        # One token stays beyond the chunks: the sentence's last chunk speaks it.
        keep = max(healthy, self._plan.num_planned + 1)
        dropped = len(self.tokens) - keep
        del self.tokens[keep:]
        if collapse is Collapse.TOO_LONG or self.attempt == MAX_RETRIES or dropped == 0:
            self.phase = Phase.SPEAKING
            return 0
        self.attempt += 1
        self._guard = CollapseGuard(len(self.job.phonemes))
        self._sampler = self._new_sampler()
        return dropped

    def hear(
        self, output: VocoderOutput, sample_rate_hz: int, *, is_final: bool
    ) -> AudioChunk | None:
        """Return what a vocoder step gives to the listener; None while all of it is held back.

        Gain, leading silence and pause are applied here, each the same however tokens were cut.
        """
        job = self.job
        if self._silence is None:
            self._silence = LeadingSilence(sample_rate_hz, kept_ms(job.params))
        had_begun = self._silence.has_begun
        samples = limit(output.samples, gain_db=self.style.gain_db)
        samples = self._silence.push(samples, final=is_final)
        self._unheard.append(replace(output, samples=samples[:0]))
        if not self._silence.has_begun:
            return None
        steps, self._unheard = self._unheard, []
        if is_final:
            pause = np.zeros(job.pause_ms * sample_rate_hz // 1000, np.float32)
            samples = np.concatenate([samples, pause])
        return AudioChunk(
            job_id=job.job_id,
            sentence_index=job.sentence_index,
            samples=samples,
            sample_rate_hz=sample_rate_hz,
            is_final=is_final,
            num_tokens=sum(step.num_tokens for step in steps),
            token_phonemes=_joined([step.token_phonemes for step in steps]),
            num_trimmed=0 if had_begun else self._silence.num_trimmed,
        )

    def view(self, deadline_s: float, *, is_head: bool = True) -> JobView:
        """Return what the scheduler may know.

        Args:
            deadline_s: When the listener runs out of audio without its next chunk.
            is_head: It is its utterance's earliest open sentence.
        """
        if self.chunks:
            chunk, missing = self.chunks[0].num_new, 0
        else:
            # In exact mode nothing is said how long it will take; one step is a safe guess.
            chunk, missing = self._plan.next_size(), max(1, self._plan.missing(len(self.tokens)))
        return JobView(
            job_id=self.job.job_id,
            sentence_index=self.job.sentence_index,
            utterance_id=self.job.utterance_id,
            phase=self.phase,
            deadline_s=deadline_s - _HEAD_START_S[self.job.priority],
            tokens_to_chunk=missing,
            chunk_tokens=chunk,
            has_credit=self.clock.has_credit,
            prefill_size=self.prefill_size,
            is_silent=is_head and self.clock.produced_s == 0.0,
        )

    @property
    def expected_rest_s(self) -> float:
        """Guess how many seconds of audio this sentence still has to give."""
        if self.phase is Phase.SPEAKING:
            return (len(self.tokens) - self.num_spoken) / TOKEN_HZ
        return max(0.0, _SECONDS_PER_PHONEME * len(self.job.phonemes) - self.produced_s)


def _joined(parts: Sequence[IntArray | None]) -> IntArray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
