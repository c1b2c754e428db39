"""The engine in a process of its own, restarted when it dies.

The decode loop and the sockets do not share a GIL, and a crash in a native runtime costs the open
sentences, not the server. Commands and events cross a pipe as pickled dataclasses; either side has
a thread that only writes, so neither an event loop nor a lane ever blocks on a full pipe.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from engine.base_engine import BaseEngine
from engine.build import start_worker
from engine.client import EngineStats
from engine.config import EngineConfig
from engine.dispatch import dispatch
from engine.errors import EngineFailed
from engine.messages import Close, Command, Event, StartFailed

logger = logging.getLogger(__name__)

_EXIT_S = 5.0
_CLOSE_TIMEOUT_S = 5.0
_RESTART_DELAYS_S = (0.0, 1.0, 5.0, 15.0)  # the last one repeats


class ProcessEngine(BaseEngine):
    """An EngineClient whose worker lives in a spawned process."""

    def __init__(
        self, config: EngineConfig, *, on_restart: Callable[[], None] | None = None
    ) -> None:
        """Prepare; nothing starts before `start`.

        Args:
            config: Must be picklable, which it is.
            on_restart: Called on the loop each time the engine is back after a death.
        """
        super().__init__(config)
        self._on_restart = on_restart
        self._process: SpawnProcess | None = None
        self._outbox: _Outbox | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self._num_restarts = 0

    @property
    def pid(self) -> int | None:
        """The engine process, for supervision and fault tests."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """See EngineClient."""
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name="engine-supervisor")

    async def close(self) -> None:
        """See EngineClient."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._send(Close())
        if self._process is not None:
            await asyncio.to_thread(_stop, self._process)
        self._fail_all(EngineFailed("the engine was closed"))

    async def stats(self) -> EngineStats:
        """See EngineClient."""
        return replace(await super().stats(), restarts=self._num_restarts)

    async def _spawn(self) -> None:
        """Start a process and wait until it is warm."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_engine_main, args=(theirs, self._config), name="sovits-engine", daemon=True
        )
        self._process.start()
        theirs.close()  # so that its death ends our reads
        self._died.clear()
        ready = self._expect_ready()
        self._outbox = _Outbox(ours)
        loop = asyncio.get_running_loop()
        threading.Thread(
            target=self._read, args=(ours, self._process, loop), name="engine-reader", daemon=True
        ).start()
        await ready

    def _read(
        self, connection: Connection, process: SpawnProcess, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Hand events to the loop until the process is gone. Runs in a thread."""
        try:
            while True:
                event = connection.recv()
                loop.call_soon_threadsafe(self._handle, event)
        except (EOFError, OSError):
            process.join(_EXIT_S)  # its pipe closes a little before it has a status
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._on_death, connection, process.exitcode)

    def _on_death(self, connection: Connection, status: int | None) -> None:
        connection.close()
        self._send(Close())  # ends the writer: its pipe is gone
        reason = why_it_died(status)
        self._fail_all(EngineFailed(f"{reason}; it is being restarted"))
        self._handle(StartFailed(EngineFailed(reason)))
        self._died.set()

    async def _supervise(self) -> None:
        """Bring the process back whenever it dies."""
        failures = 0
        while True:
            await self._died.wait()
            process = self._process
            assert process is not None
            await asyncio.to_thread(process.join)
            logger.error("engine process %s died with status %s", process.pid, process.exitcode)
            await asyncio.sleep(_RESTART_DELAYS_S[min(failures, len(_RESTART_DELAYS_S) - 1)])
            try:
                await self._spawn()
            except Exception:
                failures += 1
                logger.exception("engine process did not start again")
                self._died.set()
                continue
            failures = 0
            self._num_restarts += 1
            logger.warning("engine process is back as %s", self._process and self._process.pid)
            if self._on_restart is not None:
                self._on_restart()

    def _send(self, command: Command) -> None:
        if self._outbox is not None:
            self._outbox.put(command)


class _Outbox:
    """Writes to a pipe from a thread of its own, in order; gives up when the pipe breaks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="engine-writer", daemon=True).start()

    def put(self, message: object) -> None:
        """Queue a message; never blocks."""
        self._queue.put(message)

    def _run(self) -> None:
        while True:
            message = self._queue.get()
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                return  # the reader reports the death
            if isinstance(message, Close):
                return


def _engine_main(connection: Connection, config: EngineConfig) -> None:
    """Run the engine until the pipe closes. The entry point of the process."""
    # Ctrl-C reaches the whole process group; the server drains first and then tells us to close.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    outbox = _Outbox(connection)

    def emit(event: Event) -> None:
        outbox.put(event)

    try:
        worker, ready = start_worker(config, emit)
    except Exception as error:
        connection.send(StartFailed(error))
        return
    emit(ready)
    try:
        while True:
            command = connection.recv()
            if isinstance(command, Close):
                break
            dispatch(command, worker, emit)
    except EOFError:
        pass  # the server is gone
    worker.close()


def why_it_died(status: int | None) -> str:
    """Return what the exit status of an engine process means, and what helps."""
    if status == -signal.SIGKILL:
        return (
            "the engine process died: it was killed, as a system does that is out of memory. Free "
            "some, choose a smaller pack, or try --set engine.precision=int8 (sovits-live doctor "
            "compares what there is with what the pack wants)"
        )
    return f"the engine process died with status {status}"


def _stop(process: SpawnProcess) -> None:
    """Wait for the process, then insist."""
    process.join(_CLOSE_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
