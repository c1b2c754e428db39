"""Who speaks when: a number of clients one after the other, or arrivals that wait for nobody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.clocks import Clocks, measure
from bench.recording import Clock
from bench.targets.base import Line, OpenSession, Refused, Session, WireClosed
from engine.errors import InvalidParameter

_LAG_TICK_S = 0.005


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the server at one level.

    Attributes:
        clients: Closed loop: so many at once, each begins when its last one is over.
        rate_per_s: Open loop: arrivals in a Poisson process, whether the server keeps up or not.
        requests: Measured utterances in all.
        warmups: Utterances before, which are not.
        listens: Closed loop: a client hears its audio to the end before it begins again.
    """

    clients: int = 1
    rate_per_s: float = 0.0
    requests: int = 20
    warmups: int = 1
    listens: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One measured utterance."""

    number: int
    begun_s: float  # since the level began
    text: str
    clocks: Clocks


@dataclass(frozen=True, slots=True)
class Outcome:
    """One level's runs.

    Attributes:
        started_s: By this client's clock, when the first measured utterance could begin.
        lag_p99_s: How late this client's own event loop was: nothing below it can be told.
        concurrent: Most utterances there were at once.
    """

    runs: tuple[Run, ...]
    started_s: float
    wall_s: float
    lag_p99_s: float
    concurrent: int

    def without(self, num_first: int) -> Outcome:
        """Return it without its first runs, which warmed up."""
        return replace(self, runs=self.runs[num_first:])

    def of(self, texts: Sequence[str]) -> Outcome:
        """Return the runs of these texts alone."""
        return replace(self, runs=tuple(run for run in self.runs if run.text in texts))


class Driver:
    """Runs one level after another against one server.

    Args:
        in_order: Lines are spoken as they stand; else each round of them is shuffled by the seed.
    """

    def __init__(
        self,
        open_session: OpenSession,
        lines: Sequence[Line],
        clock: Clock,
        *,
        in_order: bool = False,
    ) -> None:
        self._open = open_session
        self._lines = lines
        self._in_order = in_order
        self._clock = clock
        self._active = 0
        self._most = 0

    async def run(self, load: Load) -> Outcome:
        """Run one level."""
        self._most = 0
        lags: list[float] = []
        watch = asyncio.create_task(self._watch(lags))
        try:
            if load.rate_per_s > 0:
                runs, start_s, end_s = await self._open_loop(load)
            else:
                runs, start_s, end_s = await self._closed_loop(load)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        lags.sort()
        lag_s = lags[int(0.99 * (len(lags) - 1))] if lags else 0.0
        return Outcome(tuple(runs), start_s, end_s - start_s, lag_s, self._most)

    def _line(self, number: int, load: Load) -> Line:
        """Return the line of a run: the corpus in an order that only the seed decides."""
        rounds, place = divmod(number, len(self._lines))
        order = list(range(len(self._lines)))
        if not self._in_order:
            random.Random(f"{load.seed}/{rounds}").shuffle(order)
        return self._lines[order[place]]

    async def _speak(self, session: Session, line: Line, number: int, start_s: float) -> Run:
        begun_s = self._clock() - start_s
        self._active += 1
        self._most = max(self._most, self._active)
        try:
            recording = await session.speak(line)
        finally:
            self._active -= 1
        try:
            clocks = measure(recording)
        except InvalidParameter as error:  # audio that is not what was asked for
            clocks = failed(str(error))
        return Run(number, begun_s, "".join(line.tokens), clocks)

    async def _turn(
        self,
        session: Session | None,
        number: int,
        load: Load,
        start_s: float,
        due_s: float | None = None,
    ) -> tuple[Session | None, Run]:
        """Speak a line, on a new connection where there is none; return one that may be used again.

        Args:
            due_s: When it should have begun; None: now.
        """
        line = self._line(number, load)
        try:
            session = session or await self._open()
        except (Refused, WireClosed) as error:
            now_s = self._clock() - start_s
            return None, Run(number, now_s, "".join(line.tokens), failed(str(error)))
        if due_s is not None:
            line = replace(line, late_s=max(0.0, self._clock() - due_s))
        run = await self._speak(session, line, number, start_s)
        if run.clocks.error:
            await session.close()
            return None, run
        return session, run

    async def _closed_loop(self, load: Load) -> tuple[list[Run], float, float]:
        sessions: list[Session | None] = [await self._open() for _ in range(load.clients)]
        numbers = iter(range(load.requests))
        runs: list[Run] = []
        try:
            for _ in range(load.warmups):
                await asyncio.gather(*(s.speak(self._line(0, load)) for s in sessions if s))
            start_s = self._clock()

            async def client(place: int) -> None:
                for number in numbers:
                    sessions[place], run = await self._turn(sessions[place], number, load, start_s)
                    runs.append(run)
                    if load.listens:
                        await asyncio.sleep(_unheard_s(run, self._clock() - start_s))

            async with asyncio.TaskGroup() as group:
                for place in range(load.clients):
                    group.create_task(client(place))
            return sorted(runs, key=lambda run: run.number), start_s, self._clock()
        finally:
            await asyncio.gather(*(session.close() for session in sessions if session))

    async def _open_loop(self, load: Load) -> tuple[list[Run], float, float]:
        dice = random.Random(load.seed)
        idle = [await self._open() for _ in range(load.clients)]
        runs: list[Run] = []
        try:
            for _ in range(load.warmups):
                await asyncio.gather(*(s.speak(self._line(0, load)) for s in idle))
            start_s = due_s = self._clock()

            async def arrival(number: int, due_s: float) -> None:
                session = idle.pop() if idle else None
                session, run = await self._turn(session, number, load, start_s, due_s)
                runs.append(run)
                if session is not None:
                    idle.append(session)

            async with asyncio.TaskGroup() as group:
                for number in range(load.requests):
                    due_s += dice.expovariate(load.rate_per_s)
                    await asyncio.sleep(max(0.0, due_s - self._clock()))
                    group.create_task(arrival(number, due_s))
            return sorted(runs, key=lambda run: run.number), start_s, self._clock()
        finally:
            await asyncio.gather(*(session.close() for session in idle))

    async def _watch(self, lags: list[float]) -> None:
        while True:
            due_s = self._clock() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            lags.append(max(0.0, self._clock() - due_s))


def failed(reason: str) -> Clocks:
    """Return the clocks of an utterance that was never heard."""
    return Clocks(problems=("error",), error=reason)


def _unheard_s(run: Run, now_s: float) -> float:
    """Return how long a listener still listens to what has arrived."""
    first_s = run.clocks.first_frame_s
    if first_s is None:
        return 0.0
    return max(0.0, run.begun_s + first_s + run.clocks.audio_s - now_s)
