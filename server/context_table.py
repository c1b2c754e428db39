"""The contexts of one session: those that are open and those that are remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from server.settings import Settings
from server.text_intake import TextIntake

MAX_FINISHED = 16  # contexts remembered after their end: playback lags behind what was sent
MAX_FAILED = 256  # ids whose late text is swallowed
_MAX_ALIAS = 0xFFFF


class State(StrEnum):
    """Where a context is in its life."""

    OPEN = "open"
    STREAMING = "streaming"
    STARVED = "starved"
    DRAINING = "draining"
    DONE = "done"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class ContextRecord:
    """What the protocol knows of one context."""

    id: str
    alias: int  # its number in binary frames
    settings: Settings
    intake: TextIntake
    is_resumable: bool = False
    state: State = State.OPEN
    received_chars: int = 0
    spoken_chars: int = 0  # up to the sentence that started last
    waiting_flushes: int = 0  # not answered yet


class ContextTable:
    """Finds contexts by id and by alias; bounded, whatever a client does.

    Args:
        on_forget: Called with the alias of a context about which nothing more is kept.
    """

    def __init__(self, on_forget: Callable[[int], None]) -> None:
        self._on_forget = on_forget
        self._active: dict[str, ContextRecord] = {}
        self._finished: OrderedDict[str, ContextRecord] = OrderedDict()
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._by_alias: dict[int, ContextRecord] = {}
        self._next_alias = 1

    def __len__(self) -> int:
        """Contexts that have not ended."""
        return len(self._active)

    def __iter__(self) -> Iterator[ContextRecord]:
        """Contexts that have not ended, as of now."""
        return iter(list(self._active.values()))

    def add(self, ctx: str, settings: Settings, *, is_resumable: bool) -> ContextRecord:
        """Make an open context."""
        alias = self._free_alias()
        context = ContextRecord(ctx, alias, settings, TextIntake(), is_resumable)
        self._active[ctx] = self._by_alias[alias] = context
        return context

    def _free_alias(self) -> int:
        while self._next_alias in self._by_alias:
            self._next_alias = self._next_alias % _MAX_ALIAS + 1
        alias = self._next_alias
        self._next_alias = alias % _MAX_ALIAS + 1
        return alias

    def active(self, ctx: str) -> ContextRecord | None:
        """Return the context of this id that has not ended."""
        return self._active.get(ctx)

    def recent(self, ctx: str) -> ContextRecord | None:
        """Return the context of this id, else the one that finished last under it."""
        return self._active.get(ctx) or self._finished.get(ctx)

    def by_alias(self, alias: int) -> ContextRecord | None:
        """Return the context of this alias, if anything is kept about it."""
        return self._by_alias.get(alias)

    def resumable(self) -> list[ContextRecord]:
        """Return the contexts that may be resumed, those that finished lately included."""
        return [context for context in self._by_alias.values() if context.is_resumable]

    def finish(self, context: ContextRecord, state: State) -> None:
        """End a context; one that is done stays known for a while."""
        context.state = state
        if self._active.get(context.id) is context:
            del self._active[context.id]
        if state is State.DONE:
            self._remember(context)
            return
        if self._finished.get(context.id) is context:
            del self._finished[context.id]
        self._forget(context)

    def _remember(self, context: ContextRecord) -> None:
        before = self._finished.pop(context.id, None)
        if before is not None:
            self._forget(before)
        self._finished[context.id] = context
        if len(self._finished) > MAX_FINISHED:
            self._forget(self._finished.popitem(last=False)[1])

    def _forget(self, context: ContextRecord) -> None:
        self._by_alias.pop(context.alias, None)
        self._on_forget(context.alias)

    def bury(self, ctx: str) -> None:
        """Swallow what still comes for a context that failed."""
        self._failed[ctx] = None
        if len(self._failed) > MAX_FAILED:
            self._failed.popitem(last=False)

    def unbury(self, ctx: str) -> None:
        """Take a new context of this id seriously."""
        self._failed.pop(ctx, None)

    def is_buried(self, ctx: str, *, ends: bool = False) -> bool:
        """Return True for a context that failed while text was on its way; its end clears it."""
        if ctx not in self._failed:
            return False
        if ends:
            del self._failed[ctx]
        return True
