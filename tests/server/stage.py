"""One utterance on a virtual clock: real splitter, encoder and pacer, a scripted engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from server.frames import AudioPacket
from server.messages import ServerMessage, encode_message
from server.metrics import Metrics
from server.outbox import Sent
from server.quotas import Account, Allowance
from server.services import Services
from server.settings import Format, Settings
from server.utterance import Utterance
from tests.fakes import Script, ScriptedEngine, ScriptedFrontend
from tests.virtual_time import run

PCM = Settings(voice="anna", seed=7, format=Format("pcm_s16le", 8000))


class RecordingSink:
    """Keeps what an utterance says, with the time it was said."""

    def __init__(self, on_audio: Callable[[], None]) -> None:
        self.said: list[tuple[float, Any]] = []
        self.starved = 0
        self._on_audio = on_audio
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that was said makes a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def packets(self) -> list[AudioPacket]:
        """All packets."""
        return [item for _, item in self.said if isinstance(item, AudioPacket)]

    def messages(self, kind: type | None = None) -> list[Any]:
        """All messages, or those of one kind."""
        found = [item for _, item in self.said if not isinstance(item, AudioPacket)]
        return found if kind is None else [item for item in found if isinstance(item, kind)]

    def times(self) -> list[float]:
        """When each packet was handed over."""
        return [time for time, item in self.said if isinstance(item, AudioPacket)]

    def _note(self, item: object) -> None:
        self.said.append((asyncio.get_running_loop().time(), item))
        self._changed.set()

    def send(self, message: ServerMessage) -> bool:
        """See Sink."""
        encode_message(message)
        self._note(message)
        return True

    def audio(self, packets: Sequence[AudioPacket]) -> bool:
        """See Sink."""
        for packet in packets:
            self._note(packet)
        self._on_audio()
        self._changed.set()
        return True

    def fail(self, code: str, message: str, *, request_id: str, retry_after_ms: int | None) -> None:
        """See Sink."""
        self._note((code, message, retry_after_ms))

    def starve(self) -> None:
        """See Sink."""
        self.starved += 1

    def sent(self) -> Sent:
        """See Sink."""
        if not self.packets:
            return Sent()
        last = self.packets[-1]
        return Sent(last.seq, last.pts + last.duration)


class Stage:
    """An utterance with everything around it."""

    def __init__(self, settings: Settings = PCM, script: Script | None = None) -> None:
        self.engine = ScriptedEngine(script)
        self.engine.is_ready = True
        self.metrics = Metrics()
        self.sink = RecordingSink(lambda: self.engine.journal.append("packet"))
        services = Services(
            engine=self.engine,
            frontend=ScriptedFrontend(),
            metrics=self.metrics,
            clock=asyncio.get_running_loop().time,
            new_job_id=itertools.count(1).__next__,
            new_seed=lambda: 99,
            encoder_pool=None,
            opus_complexity=0,
            synthesis_timeout_s=30.0,
        )
        self.utterance = Utterance(
            services,
            self.sink,
            ctx="c",
            alias=1,
            settings=settings,
            account=Account("alice", Allowance(), lambda: 0.0),
        )

    async def speak(self, *texts: str) -> Stage:
        """Say texts, end, and wait until it is over."""
        for text in texts:
            self.utterance.append(text)
        self.utterance.end()
        await self.utterance.run()
        return self

    def start(self) -> asyncio.Task[None]:
        """Run beside the test."""
        return asyncio.create_task(self.utterance.run())


def on_stage(
    body: Callable[[Stage], Awaitable[None]],
    settings: Settings = PCM,
    script: Script | None = None,
) -> Stage:
    """Run a test's body with a stage on a virtual clock."""

    async def main() -> Stage:
        stage = Stage(settings, script)
        await body(stage)
        return stage

    return run(main())


def spoken(*texts: str, settings: Settings = PCM, script: Script | None = None) -> Stage:
    """Say texts to the end."""

    async def body(stage: Stage) -> None:
        await stage.speak(*texts)

    return on_stage(body, settings, script)
