"""What a server is while it runs: engine, frontend, sessions, and their beginning and end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from engine.audio.watermark import Watermark
from engine.audio.watermark_key import WatermarkKey
from engine.client import EngineClient, EngineInfo
from engine.errors import SovitsError, WatermarkError
from engine.text.languages import how_to_install, how_to_speak
from engine.types import Language
from server import messages
from server.admission import ANONYMOUS, Admission, Keys
from server.capacity import Capacity
from server.config import Config
from server.errors import ClientError, ConfigError, error_code
from server.file_watch import changes
from server.metrics import Metrics
from server.parking import Parking
from server.quotas import Accounts
from server.self_test import SelfTest
from server.services import FrontendPool, Services
from server.settings import Settings
from server.speech import sampling_of
from server.tokens import TokenStore

logger = logging.getLogger(__name__)

_LAG_TICK_S = 0.5
_ENGINE_TICK_S = 1.0  # how often its counters are read
_ENGINE_SILENT_S = 10.0  # without an answer it counts as down
_CLOSE_S = 1.0  # for the last messages of a session that is closed at the deadline

FEATURES = ("h16", "raw", "batch", "ack", "update", "preempt", "text_spoken", "resume")

WATERMARK_FEATURE = "watermark"  # the audio is marked, as whoever passes it on may have to say


def installed_version() -> str:
    """Return the distribution's version; a checkout that is not installed has none."""
    try:
        return version("sovits-live")
    except PackageNotFoundError:
        return "not installed"


class Hosted(Protocol):
    """What holds up the end of a server: a session of any protocol, or an answer being spoken."""

    @property
    def holder(self) -> str:
        """Whose key it was opened with."""
        ...

    def revoke(self) -> None:
        """Close: the key is no longer one of this server's."""
        ...

    def drain(self, deadline_s: float) -> None:
        """Finish what is open, then close."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close now."""
        ...

    def bytes_queued(self) -> int:
        """Return the size of what waits to be written."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a runtime is made of; tests give their own.

    Attributes:
        languages: Those the frontends speak.
    """

    engine: EngineClient
    make_frontend: Callable[[EngineInfo], FrontendPool]
    languages: tuple[Language, ...]


class Runtime:
    """See the module docstring. Use it on one event loop."""

    def __init__(self, config: Config, parts: Parts) -> None:
        """Read the keys; nothing starts before `run`.

        Raises:
            ConfigError: If the keys file or the watermark's cannot be used.
        """
        self.config = config
        self.engine = parts.engine
        self.metrics = Metrics()
        self.admission = Admission(config.server.limits)
        file = config.server.keys_file
        self._keys_file = None if file is None else Path(file).expanduser()
        self.keys = Keys({}) if self._keys_file is None else Keys.read(self._keys_file)
        self._watermark_key = _watermark_key(config)
        self.accounts = Accounts(self.keys.allowances, time.monotonic)
        self.tokens = TokenStore(time.monotonic)
        self.parking = Parking()
        self._self_test = SelfTest()
        self.sessions: set[Hosted] = set()
        self.failure: Exception | None = None  # what kept the engine from starting
        self.lag_s = 0.0  # how late the event loop is
        self._engine_seen_s = math.inf  # when the engine answered last; inf: not asked yet
        self._parts = parts
        self._frontend: FrontendPool | None = None
        self._services: Services | None = None
        self._started = asyncio.Event()
        self._is_empty = asyncio.Event()  # no session is open
        self._is_empty.set()

    async def run(self) -> AsyncIterator[None]:
        """Start, yield at once, and stop everything after; a server listens while it loads."""
        threads = self.config.server.encoder_threads
        pool = ThreadPoolExecutor(threads, thread_name_prefix="encoder") if threads else None
        tasks = (
            asyncio.create_task(self._start(pool), name="start-engine"),
            asyncio.create_task(self._measure_lag(), name="loop-lag"),
            asyncio.create_task(self._measure_engine(), name="engine-capacity"),
            asyncio.create_task(self._watch_keys(), name="watch-keys"),
        )
        try:
            yield
        finally:
            self.admission.is_ready = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._self_test.close()
            await self.engine.close()
            if self._frontend is not None:
                await self._frontend.close()
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    async def _start(self, pool: Executor | None) -> None:
        try:
            await self.engine.start()
            self._frontend = self._parts.make_frontend(self.engine.info)
            await self._frontend.start()
        except Exception as error:
            self.failure = error
        else:
            self._services = self._make_services(self._frontend, pool)
            self.admission.is_ready = True
        self._started.set()

    def _make_services(self, frontend: FrontendPool, pool: Executor | None) -> Services:
        return Services(
            engine=self.engine,
            frontend=frontend,
            metrics=self.metrics,
            clock=time.monotonic,  # uvloop's own clock counts whole milliseconds
            new_job_id=itertools.count(1).__next__,
            new_seed=lambda: secrets.randbelow(2**53),
            encoder_pool=pool,
            opus_complexity=self.config.server.opus_complexity,
            synthesis_timeout_s=self.config.server.limits.synthesis_timeout_s,
            watermark=self._make_watermark(),
        )

    def _make_watermark(self) -> Watermark | None:
        if self._watermark_key is None:
            return None
        return Watermark(self._watermark_key, self.engine.info.sample_rate_hz)

    @property
    def features(self) -> tuple[str, ...]:
        """What clients are told in `ready`."""
        return FEATURES if self._watermark_key is None else (*FEATURES, WATERMARK_FEATURE)

    async def wait_started(self) -> None:
        """Return when the engine is warm.

        Raises:
            Exception: What kept it from starting.
        """
        await self._started.wait()
        if self.failure is not None:
            raise self.failure

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            self.lag_s = loop.time() - due
            self.metrics.loop_lag_seconds.set(self.lag_s)
            self.metrics.tasks.set(len(asyncio.all_tasks()))

    async def _measure_engine(self) -> None:
        """Follow how many listeners the engine can feed."""
        capacity, num_tests = Capacity(), 0
        while True:
            await asyncio.sleep(_ENGINE_TICK_S)
            if not self.engine.is_ready:
                continue
            try:
                stats = await self.engine.stats()
            except SovitsError:  # it died between the two
                continue
            self._engine_seen_s = time.monotonic()
            if self._self_test.num_runs != num_tests:
                # Its sentence is far shorter than a listener's, and dearer by the second.
                num_tests = self._self_test.num_runs
                capacity.skip(stats)
            else:
                capacity.observe(stats, self.engine.info.num_slots)
            self.metrics.capacity.set(math.inf if capacity.streams is None else capacity.streams)
            if self.config.server.limits.measured_capacity:
                self.admission.capacity = capacity.streams

    async def _watch_keys(self) -> None:
        """Read the keys file again when it changes; who lost a key is sent away."""
        if self._keys_file is None:
            return
        async for _ in changes(self._keys_file):
            before, self.keys = self.keys, self.keys.read_again(self._keys_file)
            if self.keys is before:
                continue
            self.accounts.replace(self.keys.allowances)
            for session in list(self.sessions):
                if session.holder not in (*self.keys.holders, ANONYMOUS):
                    session.revoke()
            logger.info("keys were read again", extra={"holders": len(self.keys.holders)})

    async def drain(self) -> None:
        """Refuse newcomers, let open contexts finish, close what is left at the deadline."""
        self.admission.is_draining = True
        deadline_s = self.config.server.drain_s
        logger.info("draining", extra={"sessions": len(self.sessions)})
        for session in list(self.sessions):
            session.drain(deadline_s)
        await self._wait_for_sessions(deadline_s)
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close every session now."""
        self.admission.is_draining = True
        for session in list(self.sessions):
            session.close(error_code("draining").close, "draining")
        await self._wait_for_sessions(_CLOSE_S)

    async def wait_empty(self) -> None:
        """Return when no session is open."""
        await self._is_empty.wait()

    async def _wait_for_sessions(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_empty()
        except TimeoutError:
            pass

    @contextmanager
    def hosting(self, session: Hosted) -> Iterator[None]:
        """Know a session while it runs, so that it can be drained."""
        self.sessions.add(session)
        self._is_empty.clear()
        try:
            yield
        finally:
            self.sessions.discard(session)
            if not self.sessions:
                self._is_empty.set()

    # --- what sessions need -----------------------------------------------------------------------

    @property
    def services(self) -> Services:
        """What utterances share; only when ready."""
        assert self._services is not None
        return self._services

    async def readiness(self) -> str:
        """Return what `/readyz` says: ready, or why not.

        Ready is who was warmed up, does not drain, and speaks: what the engine said lately is the
        proof, and where it was silent a short sentence of its own.
        """
        if self.status == "ready" and not await self._self_test.passes(self.services):
            return "engine_down"
        return self.status

    @property
    def status(self) -> str:
        """What is known without asking the engine: ready, or why not."""
        if self.admission.is_draining:
            return "draining"
        if self.failure is not None:
            return "failed"
        if not self.admission.is_ready:
            return "warming_up"
        is_silent = time.monotonic() - self._engine_seen_s > _ENGINE_SILENT_S
        return "engine_down" if is_silent or not self.engine.is_ready else "ready"

    def check(self, settings: Settings) -> None:
        """Refuse settings that cannot be served.

        Raises:
            ClientError: voice_not_found, unsupported_lang or bad_message.
        """
        voice = self.engine.voices.get(settings.voice)
        if voice is None:
            valid = ", ".join(self.engine.voices) or "none; add one with: sovits-live voice add"
            raise ClientError("voice_not_found", f"voice is {settings.voice!r}, valid: {valid}")
        if settings.style not in voice.styles:
            valid = ", ".join(voice.styles)
            raise ClientError("voice_not_found", f"style is {settings.style!r}, valid: {valid}")
        info = self.engine.info
        if info.languages and settings.lang not in (Language.AUTO, *info.languages):
            valid = ", ".join([*info.languages, "auto"])
            fix = how_to_speak(Language(settings.lang))
            text = f"lang is {settings.lang!r}, valid for the model {info.pack}: {valid}"
            raise ClientError("unsupported_lang", f"{text}; for one that speaks it: {fix}")
        spoken = [str(language) for language in self._parts.languages]
        if settings.lang not in (Language.AUTO, *spoken):
            valid = ", ".join([*spoken, "auto"])
            fix = how_to_install(Language(settings.lang))
            text = f"lang is {settings.lang!r}, valid: {valid}; to add it: {fix}"
            raise ClientError("unsupported_lang", text)
        most = self.config.server.limits.lead_ms_max
        if settings.lead_ms > most:
            raise ClientError("bad_message", f"lead_ms is {settings.lead_ms}, valid: 0 to {most}")

    def defaults(self) -> Settings:
        """Return what sessions start from, the model's sampling in it.

        If the configured voice is not there, with the first of the language that stands first in
        the model, or else the first that is: nano's reads its other language as well.
        """
        settings, voices, info = self.config.audio, self.engine.voices, self.engine.info
        settings = replace(settings, **sampling_of(settings, info.sampling))
        if settings.voice in voices or not voices:
            return settings
        native = [v.id for v in voices.values() if v.language in info.languages[:1]]
        return replace(settings, voice=(native or list(voices))[0])

    def ready_message(self, session_id: str, resume_token: str) -> messages.Ready:
        """Return the greeting of a session."""
        limits, info = self.config.server.limits, self.engine.info
        return messages.Ready(
            session_id=session_id,
            server="sovits-live",
            model=info.pack,
            version=installed_version(),
            limits=messages.PublishedLimits(
                max_contexts=limits.max_contexts,
                max_text_bytes=limits.max_text_bytes,
                max_buffer_chars=limits.max_buffer_chars,
                max_session_chars=limits.max_session_chars,
                idle_timeout_s=limits.idle_timeout_s,
                session_ttl_s=limits.session_ttl_s,
                lead_ms_max=limits.lead_ms_max,
                write_stall_s=limits.write_stall_s,
                msgs_per_s=limits.msgs_per_s,
                first_message_s=limits.first_message_s,
            ),
            load=messages.Load(self.admission.slots_free),
            sample_rate=info.sample_rate_hz,
            features=self.features,
            voices=tuple(self.engine.voices),
            notice=info.notice or None,
            resume_token=resume_token,
        )


def _watermark_key(config: Config) -> WatermarkKey | None:
    """Return the key that is configured, None where there is none.

    Raises:
        ConfigError: If its file cannot be used.
    """
    file = config.server.watermark_key_file
    if file is None:
        return None
    try:
        return WatermarkKey.read(Path(file).expanduser())
    except WatermarkError as error:
        raise ConfigError(f"server.watermark_key_file: {error}") from None
