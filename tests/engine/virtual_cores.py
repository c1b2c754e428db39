"""Threads whose work takes the time of virtual cores, so that the same run always comes out.

One thread runs at a time: it says how much of a core's time its next piece of work takes and
stands still until the cores have done it. Cores are shared evenly by all that have work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_EPSILON_S = 1e-9


@dataclass(eq=False)
class _Task:
    left_s: float
    event: threading.Event = field(default_factory=threading.Event)


class _Over(BaseException):
    """The run has ended; unwinds a thread that would wait for ever."""


class VirtualCores:
    """See the module docstring.

    Attributes:
        now_s: The virtual clock.
    """

    def __init__(self, num_cores: float) -> None:
        self.now_s = 0.0
        self._num_cores = num_cores
        self._tasks: list[_Task] = []
        self._idle: list[threading.Event] = []
        self._ready: deque[threading.Event] = deque()
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._back = threading.Event()  # the running thread stands still again
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def start(self, step: Callable[[], bool]) -> None:
        """Run a thread that steps; False from a step: it has nothing to do until `wake`."""
        begin = threading.Event()

        def loop() -> None:
            try:
                self._stand(begin)
                while True:
                    if step():
                        self.wake()
                    else:
                        self._idle.append(event := threading.Event())
                        self._stand(event)
            except _Over:
                pass

        self._back.clear()
        thread = threading.Thread(target=loop, daemon=True)
        self._threads.append(thread)
        thread.start()
        self._back.wait()
        self._ready.append(begin)

    def work(self, seconds: float) -> None:
        """Take so much of a core's time; called by a thread of `start`."""
        self._tasks.append(task := _Task(seconds))
        self._stand(task.event)

    def wake(self) -> None:
        """Let all idle threads look for work again."""
        self._ready.extend(self._idle)
        self._idle.clear()

    def at(self, time_s: float, call: Callable[[], None]) -> None:
        """Call at a virtual time."""
        self._timers.append((time_s, call))
        self._timers.sort(key=lambda timer: timer[0])

    def run(self, is_done: Callable[[], bool]) -> None:
        """Let time pass until it is done, and end the threads."""
        while not is_done():
            if self._ready:
                self._back.clear()
                self._ready.popleft().set()
                self._back.wait()
            else:
                self._advance()
        self._is_over = True
        for event in [*self._ready, *self._idle, *(task.event for task in self._tasks)]:
            event.set()
        for thread in self._threads:
            thread.join()

    def _advance(self) -> None:
        share = min(1.0, self._num_cores / max(1, len(self._tasks)))
        ends = [self.now_s + task.left_s / share for task in self._tasks]
        ends += [time_s for time_s, _ in self._timers[:1]]
        assert ends, "everybody waits for somebody else"
        spent_s = max(0.0, min(ends) - self.now_s)
        self.now_s += spent_s
        for task in list(self._tasks):
            task.left_s -= spent_s * share
            if task.left_s <= _EPSILON_S:
                self._tasks.remove(task)
                self._ready.append(task.event)
        while self._timers and self._timers[0][0] <= self.now_s:
            self._timers.pop(0)[1]()

    def _stand(self, event: threading.Event) -> None:
        self._back.set()
        event.wait()
        if self._is_over:
            raise _Over
