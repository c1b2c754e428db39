"""The engine's lanes: the semantic one makes tokens, the acoustic ones turn them into audio.

    submit/cancel/grant ──> jobs <── scheduler
                             │
        semantic lane: prefill | decode step of many rows     acoustic lane: vocoder step of one job
                             └──────────── tokens ───────────────────┘ ──> emit(Spoken)

Each lane is a thread; network calls release the GIL and run outside the lock, and so does drawing
tokens. The lock guards the job table and is held for microseconds. Nothing here knows sockets,
processes or event loops.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from engine.backends.base import Backend, ChoosingDecoder
from engine.backends.memory import trim
from engine.bert_features import phoneme_bert
from engine.chunking import Chunk
from engine.client import EngineInfo, EngineStats, VoiceInfo
from engine.config import EngineConfig
from engine.errors import EngineFailed, Overloaded, SovitsError
from engine.job import Job
from engine.job_table import JobTable
from engine.messages import Event, Failed, Spoken
from engine.playout import PlayoutClock
from engine.sampling import Choice
from engine.scheduler import Decode, Phase, Policy, Prefill, Scheduler, StepCosts
from engine.types import AudioChunk, FloatArray, Language, Sampling, SentenceJob, Style
from engine.vocoding import VocoderStream
from engine.voice_source import VoiceSource

logger = logging.getLogger(__name__)

# How torch (CPU, CUDA), ONNX Runtime and C++ say it, lacking a type in common.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "allocate memory", "bad_alloc")
_COST_MEMORY = 0.9  # weight of the past when a measured step cost is averaged in
# When many sentences begin at once, their first chunks keep one core busy and the semantic lane has
# little to do; with a second lane eight that begin together on two cores all go on in time.
_ACOUSTIC_LANES = 2
_Result = FloatArray | Choice | Exception  # of a row: its logits, or what a device made of them


class Worker:
    """Runs jobs on one backend. Public methods may be called from any thread."""

    def __init__(
        self,
        backend: Backend,
        voices: VoiceSource,
        config: EngineConfig,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        semantic = backend.semantic
        self._chooser = semantic if isinstance(semantic, ChoosingDecoder) else None
        self._voices = voices
        self._config = config
        self._emit = emit
        self._clock = clock
        num_slots = min(config.num_slots, backend.semantic.num_slots)
        self._scheduler = Scheduler(Policy(num_slots=num_slots, max_batch=num_slots), StepCosts())
        self._free_slots = list(range(num_slots))  # a heap: low slots first keep a batch dense
        self._jobs = JobTable()
        self._in_step: list[Job] = []  # those in the semantic lane's network call
        self._in_vocoder: set[str] = set()  # utterances in an acoustic lane's: their order stays
        self._clocks: dict[str, PlayoutClock] = {}
        self._stats = EngineStats()
        self._steps_by_batch: dict[int, int] = {}
        self._step_s_by_batch: dict[int, float] = {}
        self._changed = threading.Condition()  # guards everything above
        self._num_changes = 0  # that may give a lane work
        self._is_closing = False
        self._lanes = [
            threading.Thread(target=self._run_lane, args=(step,), name=name, daemon=True)
            for name, step in (
                ("semantic", self._semantic_step),
                *[("acoustic", self._acoustic_step)] * _ACOUSTIC_LANES,
            )
        ]

    # ── commands ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Start the lanes."""
        for lane in self._lanes:
            lane.start()

    def close(self) -> None:
        """Finish the network calls in flight, then stop; open jobs get no further event."""
        with self._changed:
            self._is_closing = True
            self._wake()
        for lane in self._lanes:
            lane.join()

    def submit(self, submitted: SentenceJob) -> None:
        """Take a job; every outcome, refusal included, is an event."""
        try:
            style = self._voices.style(submitted.voice_id, submitted.style)
            with self._changed:
                self._add(submitted, style)
                self._wake()
        except Exception as error:
            self._emit(Failed(submitted.job_id, _as_engine_error(error, submitted.job_id)))

    def _add(self, submitted: SentenceJob, style: Style) -> None:
        if len(self._jobs) >= self._config.max_jobs:
            raise Overloaded(f"{len(self._jobs)} sentences are in the engine; try again shortly")
        clock = self._clock_of(submitted.utterance_id)
        job = Job(
            submitted,
            style,
            clock,
            config=self._backend.config,
            max_positions=self._backend.semantic.max_positions,
            schedule=self._config.schedule,
        )
        self._jobs.add(job)

    def cancel(self, job_id: int) -> None:
        """Drop a job; its slot is free at once, or after the step it is in."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None:
                job.is_cancelled = True
                self._count(jobs_cancelled=1)
                self._drop(job)

    def grant(self, utterance_id: str, audio_s: float) -> None:
        """See EngineClient.grant."""
        with self._changed:
            clock = self._clock_of(utterance_id)
            had_credit = clock.has_credit
            clock.granted_s = audio_s
            # Hundreds of listeners grant a thousand times a second; mostly nothing follows.
            if clock.has_credit and not had_credit:
                self._wake()

    def forget(self, utterance_id: str) -> None:
        """See EngineClient.forget."""
        with self._changed:
            self._clocks.pop(utterance_id, None)

    def reload_voices(self) -> tuple[VoiceInfo, ...]:
        """Look again at the voices directory and return what is there."""
        self._voices.reload()
        return self._voices.infos()

    def reset_stats(self) -> None:
        """Start counting anew: what the warm-up did is nobody's."""
        with self._changed:
            self._stats = EngineStats()
            self._steps_by_batch = {}
            self._step_s_by_batch = {}

    def stats(self) -> EngineStats:
        """Return counters and gauges."""
        with self._changed:
            phases = [job.phase for job in self._jobs]
            return replace(
                self._stats,
                slots_used=sum(job.slot is not None for job in self._jobs),
                jobs_waiting=phases.count(Phase.WAITING),
                steps_by_batch=dict(self._steps_by_batch),
                step_s_by_batch=dict(self._step_s_by_batch),
            )

    def info(
        self,
        pack: str,
        fingerprint: str,
        sampling: Sampling,
        languages: tuple[Language, ...] = (),
    ) -> EngineInfo:
        """Return what is loaded."""
        config = self._backend.config
        return EngineInfo(
            pack=pack,
            family=config.family,
            fingerprint=fingerprint,
            symbol_set=config.acoustic.symbol_set,
            sample_rate_hz=self._backend.acoustic.sample_rate_hz,
            num_slots=self._scheduler.num_slots,
            backend=self._backend.describe(),
            notice=self._backend.notice,
            sampling=sampling,
            languages=languages,
        )

    # ── lanes ───────────────────────────────────────────────────────────────────────────────────

    def _run_lane(self, step: Callable[[], bool]) -> None:
        while not self._is_closing:
            seen = self._num_changes
            try:
                if step():
                    continue
            except Exception as error:
                # What a job or a network raises is caught where it is called. This is a bug of
                # ours: it costs the open sentences, never the lane, or all would wait for ever.
                logger.exception("a lane of the engine failed")
                self._fail_all(error, is_semantic=step == self._semantic_step)
                continue
            self._wait_for_change(seen)

    def _wait_for_change(self, seen: int) -> None:
        """Wait until more has changed than a lane had seen when it looked for work in vain."""
        # Deadlines do not create work, only changes do. The timeout is for sentences that come
        # within the horizon of prefetch, and for safety.
        with self._changed:
            self._changed.wait_for(lambda: self._num_changes != seen, timeout=0.1)

    def _semantic_step(self) -> bool:
        """Do the semantic lane's most urgent work; False when there is none."""
        with self._changed:
            are_short = len(self._free_slots) <= self._scheduler.reserved_slots
            now_s = self._clock()
            views = self._jobs.for_semantic(now_s, are_slots_short=are_short)
            work = self._scheduler.next_semantic(views, now_s)
            if work is None:
                return False
            ids = (work.job_id,) if isinstance(work, Prefill) else work.job_ids
            jobs = [self._jobs[job_id] for job_id in ids]
            self._in_step = jobs
            for job in jobs:
                job.is_in_step = True
            if isinstance(work, Prefill):
                jobs[0].slot = heapq.heappop(self._free_slots)
                jobs[0].phase = Phase.DECODING
                self._wake()  # an idle acoustic lane may encode its text meanwhile
        started = self._clock()
        results = [self._prefill(jobs[0])] if isinstance(work, Prefill) else self._decode(jobs)
        # Hundreds of draws take longer than anybody may be kept from the job table.
        drawn = [self._draw(job, result) for job, result in zip(jobs, results, strict=True)]
        elapsed = self._clock() - started
        with self._changed:
            self._note_semantic_cost(work, jobs, elapsed)
            self._in_step = []
            for job in jobs:
                job.is_in_step = False
            taken = [self._take(job, token) for job, token in zip(jobs, drawn, strict=True)]
            self._count(tokens=sum(taken))
            if any(job.chunks for job in jobs):
                self._wake()
        return True

    def _acoustic_step(self) -> bool:
        """Do the most urgent work of an acoustic lane; False when there is none."""
        with self._changed:
            views = self._jobs.for_acoustic(self._clock(), self._in_vocoder)
            work = self._scheduler.next_acoustic(views)
            job = self._unencoded() if work is None else self._jobs[work.job_id]
            if job is None:
                return False
            self._in_vocoder.add(job.job.utterance_id)
            chunk = None if work is None else job.chunks.popleft()
            job.num_spoken += 0 if chunk is None else chunk.num_new
        started = self._clock()
        spoken = self._encode_text(job) if chunk is None else self._vocode(job, chunk)
        elapsed = self._clock() - started
        with self._changed:
            self._in_vocoder.remove(job.job.utterance_id)
            job.busy_s += elapsed
            self._count(busy_s=elapsed, acoustic_busy_s=elapsed)
            if isinstance(spoken, Exception):
                self._fail(job, spoken)
            elif not job.is_cancelled:
                if chunk is not None:
                    self._note_vocode_cost(chunk.num_new, elapsed)
                if spoken is not None:
                    self._speak(job, spoken)
            is_idle = not self._jobs
        if is_idle:
            trim()  # what the last chunks needed goes back: 0.3 ms, 3.5 MB of nano's
        return True  # this lane looks again itself, and takes the utterance's next chunk

    # ── network calls, outside the lock ─────────────────────────────────────────────────────────

    def _prefill(self, job: Job) -> _Result:
        style, phonemes = job.style, job.job.phonemes
        assert job.slot is not None
        try:
            dim = self._backend.config.t2s.bert_dim
            bert = phoneme_bert(phonemes, self._backend.reference.bert, dim)
            if bert is not None or style.prompt_bert is not None:
                num_prompt = len(style.prompt_phoneme_ids)
                zeros = np.zeros((dim, max(num_prompt, len(phonemes))), np.float32)
                prompt = zeros[:, :num_prompt] if style.prompt_bert is None else style.prompt_bert
                target = zeros[:, : len(phonemes)] if bert is None else bert
                bert = np.concatenate([prompt, target], axis=1)
            ids = np.concatenate([style.prompt_phoneme_ids, phonemes.ids])
            return self._backend.semantic.prefill(job.slot, ids, bert, style.prompt_tokens)
        except Exception as error:
            return _as_engine_error(error, job.job.job_id)

    def _decode(self, jobs: Sequence[Job]) -> list[_Result]:
        """Make one step for all rows; when it fails, find out for each row alone."""
        slots = [job.slot for job in jobs if job.slot is not None]
        tokens = np.array([job.tokens[-1] for job in jobs], np.int64)
        try:
            if self._chooser is not None:
                draws = [job.next_draw() for job in jobs]
                return list(self._chooser.choose(slots, tokens, draws))
            return list(self._backend.semantic.decode(slots, tokens))
        except Exception as error:
            if len(jobs) == 1:
                return [_as_engine_error(error, jobs[0].job.job_id)]
        return [result for job in jobs for result in self._decode([job])]

    def _encode_text(self, job: Job) -> Exception | None:
        """Begin a sentence's vocoder while its first tokens are being made."""
        try:
            job.vocoder = VocoderStream(
                self._backend.acoustic,
                job.job.phonemes,
                job.style.vector,
                sentence_index=job.job.sentence_index,
                params=job.job.params,
            )
            return None
        except Exception as error:
            return _as_engine_error(error, job.job.job_id)

    @staticmethod
    def _draw(job: Job, result: _Result) -> int | Exception | None:
        """Draw a row's next token where it was not yet, None at the end of its sentence."""
        if isinstance(result, Exception) or job.is_cancelled:
            return result if isinstance(result, Exception) else None
        try:
            return job.draw(result)
        except Exception as error:
            return _as_engine_error(error, job.job.job_id)

    def _vocode(self, job: Job, chunk: Chunk) -> AudioChunk | Exception | None:
        """Return a chunk's audio, None while all of it is leading silence."""
        if job.vocoder is None and (error := self._encode_text(job)) is not None:
            return error
        assert job.vocoder is not None
        try:
            output = job.vocoder.step(chunk.tokens, chunk.num_new, final=chunk.is_complete)
            rate_hz = self._backend.acoustic.sample_rate_hz
            return job.hear(output, rate_hz, is_final=chunk.is_last)
        except Exception as error:
            return _as_engine_error(error, job.job.job_id)

    # ── under the lock ──────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        """Let the lanes that wait look again."""
        self._num_changes += 1
        self._changed.notify_all()

    def _clock_of(self, utterance_id: str) -> PlayoutClock:
        clock = self._clocks.get(utterance_id)
        if clock is None:
            clock = PlayoutClock(self._clock(), first_audio_s=self._config.first_audio_s)
            self._clocks[utterance_id] = clock
        return clock

    def _unencoded(self) -> Job | None:
        """Return an utterance's first sentence whose text an idle acoustic lane may encode now.

        Its listener waits for tokens, and then for the chunk; of later sentences nobody waits for.
        """
        for job in self._jobs:
            is_begun = job.vocoder is not None or job.job.utterance_id in self._in_vocoder
            if job.phase is Phase.DECODING and job.job.sentence_index == 0 and not is_begun:
                return job
        return None

    def _take(self, job: Job, token: int | Exception | None) -> bool:
        """Apply one row of a semantic step; True if it was well."""
        if job.is_cancelled:
            self._release_slot(job)
            return False
        if isinstance(token, Exception):
            self._fail(job, token)
            return False
        try:
            forgotten = job.take(token)
            if forgotten and job.phase is Phase.DECODING:
                assert job.slot is not None
                self._backend.semantic.rewind(job.slot, forgotten)
        except Exception as error:
            self._fail(job, _as_engine_error(error, job.job.job_id))
            return False
        if job.phase is not Phase.DECODING:
            self._release_slot(job)
        return True

    def _speak(self, job: Job, chunk: AudioChunk) -> None:
        audio_s = len(chunk.samples) / chunk.sample_rate_hz
        job.produced_s += audio_s
        job.clock.produce(audio_s, self._clock())
        self._count(audio_s=audio_s)
        self._emit(Spoken(replace(chunk, busy_s=job.busy_s)))
        job.busy_s = 0.0
        if chunk.is_final:
            self._count(jobs_done=1, jobs_collapsed=int(job.collapse is not None))
            self._drop(job)

    def _fail_all(self, error: Exception, *, is_semantic: bool) -> None:
        """End every open job after a bug in a lane; only the lane itself may free its slots."""
        with self._changed:
            stuck: list[Job] = []
            if is_semantic:
                stuck, self._in_step = self._in_step, []
            for job in stuck:
                job.is_in_step = False
            for job in [*self._jobs, *stuck]:
                self._fail(job, _as_engine_error(error, job.job.job_id))

    def _fail(self, job: Job, error: Exception) -> None:
        if not job.is_cancelled:
            self._count(jobs_failed=1)
            self._emit(Failed(job.job.job_id, error))
            job.is_cancelled = True
        self._drop(job)

    def _drop(self, job: Job) -> None:
        """Forget a job; the slot of a row that is in a step is freed when the step ends."""
        job.phase = Phase.DONE
        self._jobs.remove(job)
        if not job.is_in_step:
            self._release_slot(job)
        self._wake()

    def _release_slot(self, job: Job) -> None:
        if job.slot is None:
            return
        slot, job.slot = job.slot, None
        try:
            self._backend.semantic.release(slot)
        except Exception:  # the next prefill fills the slot anew, and says so if it cannot
            logger.exception("slot %d was not released cleanly", slot)
        heapq.heappush(self._free_slots, slot)

    def _count(self, **increments: float) -> None:
        changes = {name: getattr(self._stats, name) + by for name, by in increments.items()}
        self._stats = replace(self._stats, **changes)

    def _note_semantic_cost(
        self, work: Prefill | Decode, jobs: Sequence[Job], elapsed_s: float
    ) -> None:
        self._count(busy_s=elapsed_s)
        for job in jobs:
            job.busy_s += elapsed_s / len(jobs)
        costs = self._scheduler.costs
        if isinstance(work, Prefill):
            measured = elapsed_s / max(1, jobs[0].prefill_size)
            mixed = _mix(costs.prefill_per_position_s, measured)
            self._scheduler.costs = replace(costs, prefill_per_position_s=mixed)
            return
        size = len(jobs)
        self._steps_by_batch[size] = self._steps_by_batch.get(size, 0) + 1
        self._step_s_by_batch[size] = self._step_s_by_batch.get(size, 0.0) + elapsed_s
        mixed = _mix(costs.decode_step_s, elapsed_s)
        self._scheduler.costs = replace(costs, decode_step_s=mixed)

    def _note_vocode_cost(self, num_new: int, elapsed_s: float) -> None:
        costs = self._scheduler.costs
        mixed = _mix(costs.vocode_per_token_s, max(0.0, elapsed_s - costs.vocode_fixed_s) / num_new)
        self._scheduler.costs = replace(costs, vocode_per_token_s=mixed)


def _mix(old: float, measured: float) -> float:
    return _COST_MEMORY * old + (1 - _COST_MEMORY) * measured


def _as_engine_error(error: Exception, job_id: int) -> Exception:
    """Keep deliberate errors; log any other with its trace and hide its text."""
    if isinstance(error, SovitsError):
        return error
    logger.error("job %d failed", job_id, exc_info=error)
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY):
        return Overloaded(f"there is no memory for this sentence now (job {job_id})")
    return EngineFailed(f"the engine failed on this sentence (job {job_id})")
