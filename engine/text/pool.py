"""Phonemizing off the event loop, in a pool of worker processes.

Python g2p holds the GIL for milliseconds, which the loop that paces audio cannot spare. A worker
that dies takes its executor with it: the pool builds a new one and repeats what was lost once.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineFailed, InvalidParameter, Overloaded
from engine.model_config import SymbolSet
from engine.types import Language, Phonemes

if TYPE_CHECKING:
    from engine.text.frontend import Frontend

logger = logging.getLogger(__name__)

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """How to build the Frontend of a worker; see Frontend for the fields."""

    symbol_set: SymbolSet
    lexicon: Path | None = None
    g2pw_dir: Path | None = None
    digits: str = "auto"
    warm: tuple[Language, ...] = ()  # loaded at the start besides Chinese and English
    languages: tuple[Language, ...] = ()

    def build(self) -> Frontend:
        """Return a frontend; it loads dictionaries when it first needs them.

        Raises:
            SovitsError: Whatever Frontend raises.
        """
        # Imported here: a server whose frontends are processes needs none of it itself.
        from engine.text.frontend import Frontend

        return Frontend(
            self.symbol_set,
            lexicon=self.lexicon,
            g2pw_dir=self.g2pw_dir,
            digits=self.digits,
            languages=self.languages,
        )


# --- in the worker process ----------------------------------------------------------------------

_config: FrontendConfig | None = None
_frontend: Frontend | None = None


def _enter_worker(config: FrontendConfig) -> None:
    global _config
    _config = config
    # Ctrl-C reaches the whole process group; the parent decides when workers stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End the worker when the parent was killed and could not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _worker_frontend() -> Frontend:
    # Built in a call rather than in the initializer: errors of the latter lose their type.
    global _frontend
    if _frontend is None:
        assert _config is not None
        _frontend = _config.build()
    return _frontend


def _load_worker() -> None:
    assert _config is not None
    _worker_frontend().warm_up(_config.warm)


def _phonemize_in_worker(text: str, language: Language, digits: str | None) -> Phonemes:
    return _worker_frontend().phonemize(text, language, digits=digits)


# --- in the server process ----------------------------------------------------------------------


class FrontendPool:
    """Worker processes, each with its own Frontend. All methods are for one event loop.

    Args:
        symbol_set: The pack's inventory.
        workers: Processes; one phonemizes some 100 sentences per second.
        lexicon: File of the user's pronunciations.
        g2pw_dir: Folder of the g2pW model.
        digits: How numbers are read when a call does not say.
        warm: Languages to load at the start besides Chinese and English; the others take a
            second with their first sentence.
        languages: What the model was trained on, empty if that is not known.
        max_pending: Sentences that may wait or run before more are refused.
        timeout_s: After this long, waiting included, workers are taken for hung and replaced.

    Raises:
        InvalidParameter: `workers` or `max_pending` is below 1.
    """

    def __init__(
        self,
        symbol_set: SymbolSet,
        workers: int = 1,
        *,
        lexicon: Path | None = None,
        g2pw_dir: Path | None = None,
        digits: str = "auto",
        warm: tuple[Language, ...] = (),
        languages: tuple[Language, ...] = (),
        max_pending: int = 1024,
        timeout_s: float = 30.0,
    ) -> None:
        if max_pending < 1:
            raise InvalidParameter("max_pending", max_pending, "1 or more")
        if workers < 1:
            raise InvalidParameter("workers", workers, "1 or more")
        self._config = FrontendConfig(symbol_set, lexicon, g2pw_dir, digits, warm, languages)
        self._workers = workers
        self._timeout_s = timeout_s
        self._executor: ProcessPoolExecutor | None = None
        self._max_pending = max_pending
        self._num_pending = 0
        self._num_restarts = 0
        self._is_closed = False

    @property
    def num_pending(self) -> int:
        """Sentences that wait or run."""
        return self._num_pending

    @property
    def num_restarts(self) -> int:
        """How often the workers had to be replaced."""
        return self._num_restarts

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that live now."""
        processes = self._executor._processes if self._executor is not None else None
        return tuple(processes or ())

    async def start(self) -> None:
        """Start all workers; afterwards the first sentence is as fast as the others.

        Raises:
            SovitsError: What keeps them from starting.
        """
        self._executor = self._new_executor()
        loads = [self._executor.submit(_load_worker) for _ in range(self._workers)]
        try:
            for load in loads:
                await asyncio.wrap_future(load)
        except BrokenProcessPool as error:
            await self.close()
            raise EngineFailed("a text frontend worker died while it started") from error
        except BaseException:
            await self.close()
            raise

    async def phonemize(
        self, text: str, language: Language, *, digits: str | None = None
    ) -> Phonemes:
        """Return the phonemes of one sentence; see Frontend.phonemize.

        Raises:
            TextError: The text cannot be spoken.
            InvalidParameter: `digits` is not valid.
            Overloaded: Too many sentences are waiting.
            EngineFailed: The workers died on this sentence, or it was closed.
        """
        with self._counted():
            for _ in range(_ATTEMPTS):
                executor = self._current()
                try:
                    call = executor.submit(_phonemize_in_worker, text, language, digits)
                    async with asyncio.timeout(self._timeout_s):
                        return await self._outcome(call)
                except BrokenProcessPool:
                    self._discard(executor, "a worker died")
                except TimeoutError:
                    self._discard(executor, f"a sentence took over {self._timeout_s:g} s")
                    break  # it would hang again
                if self._is_closed:
                    break
        if self._is_closed:
            raise EngineFailed("the text frontend is closed")
        raise EngineFailed(f"the text frontend failed on a sentence of {len(text)} characters")

    async def close(self) -> None:
        """Stop; what is waiting ends with EngineFailed. May be called twice."""
        self._is_closed = True
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._is_closed:
            raise EngineFailed("the text frontend is closed")
        if self._num_pending >= self._max_pending:
            raise Overloaded(f"{self._num_pending} sentences wait for the text frontend")
        self._num_pending += 1
        try:
            yield
        finally:
            self._num_pending -= 1

    async def _outcome(self, call: Future[Phonemes]) -> Phonemes:
        """Wait for `call`; one that `close` cancelled failed, its caller was not cancelled."""
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise EngineFailed("the text frontend was closed") from None

    def _new_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            # fork would copy the event loop's threads and locks in whatever state they are
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_enter_worker,
            initargs=(self._config,),
        )

    def _current(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = self._new_executor()
        return self._executor

    def _discard(self, executor: ProcessPoolExecutor, why: str) -> None:
        """Replace a broken executor, once for all calls that were in it."""
        if self._executor is not executor:
            return
        self._executor = None
        self._num_restarts += 1
        logger.error("text frontend: %s; starting new workers", why)
        for process in list((executor._processes or {}).values()):
            process.kill()
        # Nothing is cancelled: the calls in it see BrokenProcessPool and are repeated.
        executor.shutdown(wait=False)
