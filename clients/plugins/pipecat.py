"""Pipecat: a TTS service that streams text in and audio and timed words out.

    from clients.plugins.pipecat import SovitsLiveTTSService
    tts = SovitsLiveTTSService(url="ws://127.0.0.1:8080", voice="anna")

Needs pipecat-ai (pip install pipecat-ai). Tokens of the language model go to the server as they
come and it cuts the text itself; a barge-in is a real cancel, the connection stays.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from pipecat.frames.frames import CancelFrame, EndFrame, Frame, TTSAudioRawFrame, TTSStoppedFrame
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.transcriptions.language import Language

from clients.context import Context
from clients.errors import SessionLost, StreamError
from clients.events import AudioPacket, ContextDone, ContextStarted, SegmentDone, SegmentStarted
from clients.events import Timing as TimingEvent
from clients.plugins.words import TimedText, TimedWords
from clients.save import SampleStream
from clients.stream_client import StreamClient

_SPACELESS = ("CJK ", "HIRAGANA ", "KATAKANA ")  # Korean has spaces
_LANGUAGES = ("zh", "en", "ja", "ko", "yue")


class SovitsLiveTTSService(TTSService):  # type: ignore[misc]
    """Speech of a sovits-live server; a turn of the conversation is a context of the session.

    Args:
        url: Of the server.
        token: API key.
        voice: Voice id; the server's by default.
        language: Of all text; by default the server detects it.
        text_aggregation_mode: Whether the service waits for whole sentences. By default it does
            not: the server cuts earlier and better.
        context_settings: As the protocol names them: speed, style, seed, lead_ms, ...
    """

    def __init__(
        self,
        *,
        url: str,
        token: str | None = None,
        voice: str | None = None,
        language: Language | str | None = None,
        sample_rate: int | None = None,
        text_aggregation_mode: TextAggregationMode = TextAggregationMode.TOKEN,
        context_settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # Text goes on with its sound, word by word: after a barge-in the conversation has
            # what was heard, not what was to be said.
            push_text_frames=False,
            push_start_frame=True,
            sample_rate=sample_rate,
            text_aggregation_mode=text_aggregation_mode,
            settings=TTSSettings(model=None, voice=voice, language=_code(language)),
            **kwargs,
        )
        self._url = url
        self._token = token
        self._context_settings = dict(context_settings or {})
        self._client: StreamClient | None = None
        self._open: dict[str, Context] = {}
        self._receivers: dict[str, asyncio.Task[None]] = {}

    def can_generate_metrics(self) -> bool:
        """See pipecat: time to the first byte is measured."""
        return True

    def language_to_service_language(self, language: Language) -> str | None:
        """Return the server's code of a language, None if it has none."""
        return _code(language)

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Connect, so that the first turn need not."""
        await super().setup(setup)
        try:
            await self._connected()
        except StreamError as error:
            await self.push_error(error_msg=str(error), exception=error)
            await self._call_event_handler("on_connection_error", str(error))

    async def stop(self, frame: EndFrame) -> None:
        """End the session after the last turn."""
        await super().stop(frame)
        await self._disconnect()

    async def cancel(self, frame: CancelFrame) -> None:
        """End the session at once."""
        await super().cancel(frame)
        await self._disconnect()

    async def cleanup(self) -> None:
        """End the session if nothing else did."""
        await super().cleanup()
        await self._disconnect()

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Send text; its audio arrives on the context's own task."""
        try:
            context = self._open.get(context_id) or await self._begin(context_id)
            await context.send_text(text)
            await self.start_tts_usage_metrics(text)
        except StreamError as error:
            await self._give_up(context_id, error)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """No more text comes in the turn."""
        wanted = context_id or self.get_active_audio_context_id()
        context = self._open.pop(wanted, None)
        if context is not None and not context.is_over:
            await context.end()

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """The user speaks: stop the server too."""
        await self.stop_all_metrics()
        self._open.pop(context_id, None)
        receiver = self._receivers.pop(context_id, None)
        if receiver is not None:
            await self.cancel_task(receiver)  # cancels the context on its way out
        await super().on_audio_context_interrupted(context_id)

    async def _connected(self) -> StreamClient:
        if self._client is None:
            self._client = await StreamClient(self._url, self._token).__aenter__()
            await self._call_event_handler("on_connected")
        return self._client

    async def _disconnect(self) -> None:
        self._open.clear()
        for receiver in list(self._receivers.values()):
            await self.cancel_task(receiver)
        self._receivers.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
            await self._call_event_handler("on_disconnected")

    async def _begin(self, context_id: str) -> Context:
        settings: dict[str, Any] = {
            "voice": self._settings.voice,
            "lang": self._settings.language,
            "format": {"codec": "pcm_s16le", "rate": self.sample_rate},
            "timings": ["word"],
            "timing_mode": "sync",
            **self._context_settings,
        }
        try:
            context = await (await self._connected()).open(**settings)
        except SessionLost:
            self._client = None
            context = await (await self._connected()).open(**settings)
        self._open[context_id] = context
        self._receivers[context_id] = self.create_task(
            self._receive(context_id, context), name="sovits-live-receiver"
        )
        return context

    async def _receive(self, context_id: str, context: Context) -> None:
        try:
            await self._relay(context_id, context)
            await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
            await self.remove_audio_context(context_id)
        except StreamError as error:
            await self._give_up(context_id, error)
        finally:
            self._receivers.pop(context_id, None)
            self._open.pop(context_id, None)
            if not context.is_over:
                await context.cancel()

    async def _relay(self, context_id: str, context: Context) -> None:
        words = TimedWords()
        samples: SampleStream | None = None
        async for event in context:
            if isinstance(event, ContextStarted):
                samples = SampleStream(event)
            elif isinstance(event, AudioPacket) and samples is not None:
                await self._append(context_id, samples.add(event))
            elif isinstance(event, SegmentStarted):
                words.begin(event)
            elif isinstance(event, TimingEvent):
                await self._append_words(context_id, words.add(event))
            elif isinstance(event, SegmentDone):
                await self._append_words(context_id, words.end(event))
            elif isinstance(event, ContextDone) and samples is not None:
                await self._append(context_id, samples.finish(event.total_samples48))

    async def _append(self, context_id: str, data: bytes) -> None:
        if data:
            frame = TTSAudioRawFrame(
                audio=data, sample_rate=self.sample_rate, num_channels=1, context_id=context_id
            )
            await self.append_to_audio_context(context_id, frame)

    async def _append_words(self, context_id: str, pieces: Iterator[TimedText]) -> None:
        for piece in pieces:
            await self.add_word_timestamps(
                [(piece.text, piece.start_s)],
                context_id,
                includes_inter_frame_spaces=is_spaceless(piece.text),
            )

    async def _give_up(self, context_id: str, error: StreamError) -> None:
        """Say what went wrong and end the turn's audio."""
        if isinstance(error, SessionLost):
            self._client = None
        self._open.pop(context_id, None)
        await self.push_error(error_msg=str(error), exception=error)
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        if self.audio_context_available(context_id):
            await self.remove_audio_context(context_id)


def is_spaceless(word: str) -> bool:
    """Return True for a word of a script without spaces.

    Pipecat strips words and puts a space between two, unless both say that none belongs there.
    """
    letters = [ch for ch in word if ch.isalnum()]
    return bool(letters) and unicodedata.name(letters[-1], "").startswith(_SPACELESS)


def _code(language: Language | str | None) -> str | None:
    """Return zh for zh-CN, and so on; None, which lets the server detect, for what it has not."""
    if language is None:
        return None
    code = str(language).lower()
    base = code.split("-")[0]
    # zh-HK is written for Mandarin as for Cantonese readers: only yue says what is spoken.
    return base if base in _LANGUAGES else None
