"""One context's life: text deltas in, sentences through the engine, packets out.

    inbox ─_split─> sentences ─_speak─> phonemes ─engine─> chunks ─_deliver─> packets

Three tasks of one group, each waiting for the one before it. Sentences are synthesized ahead of
the one being delivered and delivered in order. A cancel ends the group; leaving the engine's
context manager is what stops the work there.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

import numpy as np

from engine.errors import Overloaded, SovitsError
from engine.text.splitter import SentenceSplitter, SplitterOptions
from engine.types import AudioChunk, Sentence
from server import messages
from server.delivery import Delivery
from server.encoder import AudioEncoder, Codec
from server.errors import ERROR_CODES, ClientError
from server.events import CancelRequested
from server.frames import CLOCK_HZ
from server.pacing import Pacer
from server.quotas import Account
from server.services import Services
from server.settings import Settings
from server.sink import Sink
from server.speech import FlushMark, Speech, SpokenSentence, TextEnd
from server.timings import TimingTrack
from server.transcript import Transcript

logger = logging.getLogger(__name__)

_NOTHING_MS = 40  # of silence for a text without anything to speak: clients wait for audio
_GRANT_AHEAD_S = 1.0  # what the engine may make beyond the listener's lead
_GRANT_STEP_S = 0.2  # do not tell the engine of less


class _Cancelled(Exception):
    """Ends the task group."""


class Utterance:
    """See the module docstring. Commands return at once; `run` is the life."""

    def __init__(
        self,
        services: Services,
        sink: Sink,
        *,
        ctx: str,
        alias: int,
        settings: Settings,
        account: Account,
        route: str = "native",
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            alias: The context's number in binary frames.
            account: Of the API key.
            route: The protocol spoken, for metrics.
        """
        self.ctx = ctx
        self._account = account
        self._route = route
        self.id = uuid.uuid4().hex
        self._alias = alias
        self._services = services
        self._sink = sink
        self._settings = settings
        self.is_realtime = settings.is_realtime
        self._seed = services.new_seed() if settings.seed is None else settings.seed
        self._inbox: asyncio.Queue[str | FlushMark | TextEnd] = asyncio.Queue()
        self._speech = Speech(services, utterance_id=self.id, seed=self._seed)
        self._created_s = services.clock()
        self._stop = asyncio.Event()
        self._cancel: CancelRequested | None = None
        self._cancelled_s = 0.0
        self._transcript = Transcript()
        self._splitter = SentenceSplitter(splitter_options(settings))
        self._pacer = Pacer(settings.lead_ms / 1000)
        self._delivery: Delivery | None = None
        self._first_text_s: float | None = None
        self._granted_s = 0.0
        self._queue_s = 0.0
        self._num_cut = 0  # sentences
        self._num_delivered = 0
        self.is_over = False

    # --- commands ---------------------------------------------------------------------------------

    def append(self, text: str) -> None:
        """Take more text."""
        if self._first_text_s is None:
            self._first_text_s = self._services.clock()
        self._transcript.append(text)
        self._inbox.put_nowait(text)

    def flush(self, flush_id: str | int | None) -> None:
        """Speak what is buffered; answered by `flush.done`."""
        self._inbox.put_nowait(FlushMark(flush_id))

    def end(self) -> None:
        """Take no more text and finish."""
        self._inbox.put_nowait(TextEnd())

    def update(self, settings: Settings) -> None:
        """Speak the next sentences with these settings."""
        self._settings = settings

    def ack(self, played_ms: float | None, seq: int | None) -> None:
        """Take the listener's position."""
        if played_ms is None:
            if seq is None:
                return
            played_ms = (seq + 1) * float(self._settings.format.frame_ms)
        self._pacer.acked(played_ms / 1000, self._services.clock())
        if self._delivery is not None:
            self._delivery.nudge()

    def cancel(self, request: CancelRequested) -> None:
        """Stop; answered by `context.cancelled`."""
        if self._cancel is None:
            self._cancel = request
            self._cancelled_s = self._services.clock()
            self._stop.set()
            if self.is_over:
                self._report_cancel()

    def refuse(self, error: ClientError) -> None:
        """End before it began."""
        self.is_over = True
        self._sink.fail(
            error.code,
            error.message,
            request_id=uuid.uuid4().hex[:16],
            retry_after_ms=error.retry_after_ms,
        )
        self._services.metrics.errors.labels(error.code).inc()

    def stalled_s(self, now_s: float) -> float:
        """Return how long it has waited for a listener who says nothing."""
        return 0.0 if self.is_over else self._pacer.stalled_s(now_s)

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until everything is sent, a cancel or a failure; never raises but CancelledError."""
        try:
            encoder = self._make_encoder()
            self._announce(encoder)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_stop(), name="watch")
                group.create_task(self._split(), name="split")
                group.create_task(self._speech.run(group), name="speak")
                await self._deliver()
                self._stop.set()
            if self._cancel is None:
                self._conclude()
            else:  # it came while the last task was ending
                self._report_cancel()
        except* _Cancelled:
            self._report_cancel()
        except* Exception as errors:
            self._fail(_first(errors))
        finally:
            self.is_over = True
            self._account.spend_audio(self._sink.sent().pts_end / CLOCK_HZ)
            self._services.engine.forget(self.id)

    def _make_encoder(self) -> AudioEncoder:
        settings, services = self._settings, self._services
        encoder = AudioEncoder(
            settings.format.codec,
            source_hz=services.engine.info.sample_rate_hz,
            rate_hz=settings.format.rate,
            frame_ms=settings.format.frame_ms,
            bitrate=settings.format.bitrate,
            complexity=services.opus_complexity,
            watermark=None if services.watermark is None else services.watermark.start(),
        )
        self._delivery = Delivery(
            self._sink,
            encoder,
            self._pacer,
            clock=services.clock,
            # A chunk of the codecs without state takes the loop less time than a thread's GIL.
            executor=services.encoder_pool if encoder.codec is Codec.OPUS else None,
            may_batch=settings.framing == "h16",
            on_sent=self._grant,
        )
        return encoder

    def _announce(self, encoder: AudioEncoder) -> None:
        settings = self._settings
        started = messages.ContextStarted(
            ctx=self.ctx,
            alias=self._alias,
            codec=settings.format.codec,
            rate=settings.format.rate,
            frame_ms=settings.format.frame_ms,
            pre_skip=encoder.pre_skip48,
            voice=settings.voice,
            style=settings.style,
            lang=settings.lang,
            speed=settings.speed,
            seed=self._seed,
            lead_ms=settings.lead_ms,
            queue_ms=round((self._services.clock() - self._created_s) * 1000),
        )
        self._sink.send(started)

    async def _watch_stop(self) -> None:
        await self._stop.wait()
        if self._cancel is not None:
            raise _Cancelled

    # --- text to sentences ------------------------------------------------------------------------

    async def _split(self) -> None:
        splitter, clock = self._splitter, self._services.clock
        while True:
            deadline = splitter.next_deadline()
            command: str | FlushMark | TextEnd | None
            try:
                async with asyncio.timeout(
                    None if deadline is None else max(0.0, deadline - clock())
                ):
                    command = await self._inbox.get()
            except TimeoutError:
                command = None
            splitter.set_lead(self._pacer.lead_s(clock()))
            if isinstance(command, TextEnd):
                self._plan(splitter.finish())
                self._speech.plan(command)
                return
            if isinstance(command, FlushMark):
                self._plan(splitter.flush())
                self._speech.plan(command)
            elif command is None:
                self._plan(splitter.poll(clock()))
            else:
                self._plan(splitter.feed(command, clock()))

    def _plan(self, sentences: list[Sentence]) -> None:
        now = self._services.clock()
        if sentences and not self._granted_s:
            self._grant()
        for sentence in sentences:
            self._speech.plan(SpokenSentence(sentence, self._settings, now))
            self._num_cut += 1

    # --- chunks to packets ------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Send everything in order until the end of the text."""
        assert self._delivery is not None
        while True:
            if self._num_delivered == self._num_cut and self._inbox.empty():
                self._sink.starve()
            planned = await self._speech.next()
            if isinstance(planned, SpokenSentence):
                await self._deliver_sentence(planned)
                self._num_delivered += 1
                self._speech.delivered()
            elif isinstance(planned, FlushMark):
                pts_end = self._delivery.position48
                self._sink.send(messages.FlushDone(self.ctx, pts_end, planned.id))
            else:
                break
        if not self._delivery.total_samples48:
            rate = self._services.engine.info.sample_rate_hz
            await self._delivery.feed(np.zeros(rate * _NOTHING_MS // 1000, np.float32))
        await self._delivery.finish()

    async def _deliver_sentence(self, spoken: SpokenSentence) -> None:
        assert self._delivery is not None
        chunk = await self._speech.next_chunk(spoken)
        if spoken.phonemes is None or chunk is None:
            return  # nothing to speak
        if spoken.sentence.index == 0:
            self._queue_s = self._services.clock() - spoken.cut_s
        sentence = spoken.sentence
        pts = self._delivery.begin(sentence.index)
        times = self._transcript.begin(sentence, spoken.phonemes, pts)
        started = messages.SegmentStarted(
            ctx=self.ctx,
            seg=sentence.index,
            text=sentence.text,
            pts=pts,
            start=sentence.start,
            end=sentence.end,
            pause_ms=sentence.pause_ms,
            norm=spoken.phonemes.normalized_text,
            trimmed_ms=chunk.num_trimmed * 1000 // chunk.sample_rate_hz,
        )
        self._sink.send(started)
        track = TimingTrack(self.ctx, times, spoken.settings.timings)
        while chunk is not None:
            times.add(chunk)
            await self._deliver_chunk(chunk, track, is_sync=spoken.settings.timing_mode == "sync")
            chunk = await self._speech.next_chunk(spoken)
        pts_end = self._delivery.position48
        done = messages.SegmentDone(self.ctx, sentence.index, pts_end, times.num_tokens)
        self._sink.send(done)

    async def _deliver_chunk(self, chunk: AudioChunk, track: TimingTrack, *, is_sync: bool) -> None:
        """Send a chunk's packets, its timings before them (sync) or after (async)."""
        assert self._delivery is not None
        timing = track.advance(chunk)
        if timing is not None and is_sync:
            self._sink.send(timing)
        await self._delivery.feed(chunk.samples)
        if timing is not None and not is_sync:
            self._sink.send(timing)

    def _grant(self) -> None:
        """Let the engine make what the listener will soon want."""
        now = self._services.clock()
        granted = self._pacer.played_s(now) + self._pacer.max_lead_s + _GRANT_AHEAD_S
        if granted >= self._granted_s + _GRANT_STEP_S:
            self._granted_s = granted
            self._services.engine.grant(self.id, granted)
            self._services.metrics.lead_seconds.observe(self._pacer.lead_s(now))

    # --- ends -------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        """Say that everything is sent."""
        assert self._delivery is not None
        delivery, metrics = self._delivery, self._services.metrics
        audio_s = delivery.total_samples48 / CLOCK_HZ
        chars = len(self._transcript.text)
        first_text = self._first_text_s
        first_packet = delivery.first_packet_s
        ttfa_s = 0.0 if first_text is None or first_packet is None else first_packet - first_text
        rtf = self._speech.engine_s / audio_s
        done = messages.ContextDone(
            ctx=self.ctx,
            total_samples48=delivery.total_samples48,
            packets=delivery.num_packets,
            usage=messages.Usage(chars, round(audio_s * 1000), self._engine_ms()),
            timings=messages.Timings(
                ttfa_ms=round(ttfa_s * 1000),
                queue_ms=round(self._queue_s * 1000),
                rtf=round(rtf, 4),
                underruns_est=self._pacer.num_underruns,
            ),
        )
        if not self._sink.send(done):
            return
        metrics.ttfa_seconds.labels(self._route, self._settings.voice).observe(ttfa_s)
        metrics.rtf.observe(rtf)
        metrics.queue_seconds.observe(self._queue_s)
        metrics.audio_seconds.inc(audio_s)
        metrics.underruns.inc(self._pacer.num_underruns)
        metrics.chars.labels(self._account.holder).inc(chars)
        metrics.contexts.labels("done").inc()
        fields = {"utterance": self.id, "chars": chars, "audio_s": round(audio_s, 2)}
        logger.info("context done", extra={**fields, "ttfa_ms": done.timings.ttfa_ms})

    def _engine_ms(self) -> int | None:
        """Return the networks' time; None from an engine that does not tell."""
        return round(self._speech.busy_s * 1000) if self._speech.busy_s else None

    def _report_cancel(self) -> None:
        """Say what was sent and heard."""
        request = self._cancel
        assert request is not None
        now = self._services.clock()
        sent = self._sink.sent()
        sent_s = sent.pts_end / CLOCK_HZ
        played_s = min(sent_s, self._pacer.played_s(now))
        if request.played_ms is not None:
            played_s = min(sent_s, request.played_ms / 1000)
        spoken, remaining = self._transcript.split_at(round(played_s * CLOCK_HZ))
        stop_s = 0.0 if self.is_over else now - self._cancelled_s
        answer = messages.ContextCancelled(
            ctx=self.ctx,
            reason=request.reason,
            sent_ms=round(sent_s * 1000),
            played_ms=round(played_s * 1000),
            text_spoken=spoken,
            text_remaining=remaining,
            stop_ms=round(stop_s * 1000),
            last_seq=sent.last_seq,
            fade_ms=None if request.fade_ms is None else round(request.fade_ms),
        )
        self._sink.send(answer)
        self._services.metrics.cancel_stop_seconds.observe(stop_s)
        self._services.metrics.contexts.labels("cancelled").inc()

    def _fail(self, error: Exception) -> None:
        request_id = uuid.uuid4().hex[:16]
        code, text = "internal", f"an error of the server; its log has it as {request_id}"
        retry_after_ms = error.retry_after_ms if isinstance(error, Overloaded) else None
        if isinstance(error, SovitsError):
            code, text = error.code, str(error)
        if code not in ERROR_CODES or code == "internal":
            logger.error("context failed", exc_info=error, extra={"request_id": request_id})
        else:
            fields = {"utterance": self.id, "code": code, "request_id": request_id}
            logger.warning("context failed", extra=fields)
        self._sink.fail(code, text, request_id=request_id, retry_after_ms=retry_after_ms)
        self._services.metrics.errors.labels(code).inc()
        self._services.metrics.contexts.labels("failed").inc()


def splitter_options(settings: Settings) -> SplitterOptions:
    """Return the splitter's options for a context's settings."""
    chunking = settings.chunking
    return SplitterOptions(
        schedule=chunking.schedule,
        first_chunk_max_wait_ms=chunking.first_chunk_max_wait_ms,
        idle_flush_ms=chunking.idle_flush_ms,
        auto_mode=chunking.auto,
    )


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """Return the first single error of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
