"""LiveKit Agents: a TTS that streams text in and audio out.

    from clients.plugins.livekit import TTS
    session = AgentSession(tts=TTS(url="ws://127.0.0.1:8080", voice="anna"), ...)

Needs livekit-agents (pip install livekit-agents). The server cuts the text itself, so no sentence
tokenizer stands in between and the first words sound before the first sentence is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, TimedString

from clients.context import Context
from clients.errors import ConnectFailed, ServerError, SessionLost
from clients.events import AudioPacket, ContextDone, ContextStarted, SegmentDone, SegmentStarted
from clients.events import Timing as TimingEvent
from clients.plugins.words import TimedText, TimedWords
from clients.save import SampleStream
from clients.stream_client import StreamClient

_NUM_CHANNELS = 1


class TTS(tts.TTS):  # type: ignore[misc]
    """Speech of a sovits-live server; one session serves all streams.

    Args:
        url: Of the server.
        token: API key.
        settings: As the protocol names them: voice, lang, style, speed, seed, lead_ms, ...
    """

    def __init__(
        self, *, url: str, token: str | None = None, sample_rate: int = 24000, **settings: Any
    ) -> None:
        capabilities = tts.TTSCapabilities(streaming=True, aligned_transcript=True)
        super().__init__(
            capabilities=capabilities, sample_rate=sample_rate, num_channels=_NUM_CHANNELS
        )
        self._url = url
        self._token = token
        self._settings = settings
        self._client: StreamClient | None = None
        self._connecting = asyncio.Lock()
        self._warming: asyncio.Task[StreamClient] | None = None

    @property
    def model(self) -> str:
        """Name of the server's model pack."""
        return self._client.ready.model if self._client is not None else "unknown"

    @property
    def provider(self) -> str:
        """See livekit.agents.tts.TTS."""
        return "sovits-live"

    def update_options(self, **settings: Any) -> None:
        """Change settings of later streams; None takes one back."""
        changed = {**self._settings, **settings}
        self._settings = {name: value for name, value in changed.items() if value is not None}

    def prewarm(self) -> None:
        """Connect before the first text."""
        if self._client is None and self._warming is None:
            self._warming = asyncio.create_task(self._connected(), name="sovits-live-prewarm")
            # Whoever speaks first meets the error again.
            self._warming.add_done_callback(lambda task: task.cancelled() or task.exception())

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a whole text."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> SynthesizeStream:
        """Speak a text while it is written."""
        return SynthesizeStream(tts=self, conn_options=conn_options)

    async def aclose(self) -> None:
        """End the session."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def open_context(self) -> Context:
        """Open a context, on a new session if the last one ended."""
        client = await self._connected()
        settings = {"format": {"codec": "pcm_s16le", "rate": self.sample_rate}, **self._settings}
        try:
            return await client.open(timings=["word"], timing_mode="sync", **settings)
        except SessionLost:
            await self._forget(client)
            client = await self._connected()
            return await client.open(timings=["word"], timing_mode="sync", **settings)

    async def _connected(self) -> StreamClient:
        async with self._connecting:
            if self._client is None:
                self._client = await StreamClient(self._url, self._token).__aenter__()
            return self._client

    async def _forget(self, client: StreamClient) -> None:
        async with self._connecting:
            if self._client is client:
                self._client = None
        await client.close()


class SynthesizeStream(tts.SynthesizeStream):  # type: ignore[misc]
    """One text, one context, one segment; made by TTS.stream."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        with _as_livekit_errors():
            context = await self._tts.open_context()
            sender = asyncio.create_task(self._send(context), name="sovits-live-sender")
            is_whole = False
            try:
                await self._receive(context, output_emitter)
                is_whole = True
            finally:
                sender.cancel()
                await asyncio.wait([sender])
                if not is_whole and not context.is_over:
                    await context.cancel()
            if not sender.cancelled() and (error := sender.exception()):
                raise error

    async def _send(self, context: Context) -> None:
        async for item in self._input_ch:
            if isinstance(item, self._FlushSentinel):
                await context.flush()
            elif item:
                self._mark_started()
                await context.send_text(item)
        await context.end()

    async def _receive(self, context: Context, emitter: tts.AudioEmitter) -> None:
        words = TimedWords()
        samples: SampleStream | None = None
        async for event in context:
            if isinstance(event, ContextStarted):
                samples = self._start(context, event, emitter)
            elif isinstance(event, AudioPacket) and samples is not None:
                _push(emitter, samples.add(event))
            elif isinstance(event, SegmentStarted):
                words.begin(event)
            elif isinstance(event, TimingEvent):
                emitter.push_timed_transcript(_timed(words.add(event)))
            elif isinstance(event, SegmentDone):
                emitter.push_timed_transcript(_timed(words.end(event)))
            elif isinstance(event, ContextDone) and samples is not None:
                _push(emitter, samples.finish(event.total_samples48))
                emitter.end_segment()

    def _start(
        self, context: Context, started: ContextStarted, emitter: tts.AudioEmitter
    ) -> SampleStream:
        # Again after a reconnection, which happens only before any audio came.
        if not emitter.num_segments:
            emitter.initialize(
                request_id=context.id,
                sample_rate=started.rate,
                num_channels=_NUM_CHANNELS,
                mime_type="audio/pcm",
                stream=True,
            )
            emitter.start_segment(segment_id=context.id)
        return SampleStream(started)


def _push(emitter: tts.AudioEmitter, data: bytes) -> None:
    if data:
        emitter.push(data)


def _timed(pieces: Iterator[TimedText]) -> list[TimedString]:
    return [TimedString(p.text, start_time=p.start_s, end_time=p.end_s) for p in pieces]


@contextmanager
def _as_livekit_errors() -> Iterator[None]:
    """Raise what LiveKit knows how to retry, or not to."""
    try:
        yield
    except ConnectFailed as error:
        if error.status is not None:
            raise APIStatusError(str(error), status_code=error.status) from error
        raise APIConnectionError(str(error)) from error
    except SessionLost as error:
        raise APIConnectionError(str(error)) from error
    except ServerError as error:
        raise APIError(str(error), retryable=error.retryable) from error
