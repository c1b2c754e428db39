"""What waits to be written on one session, in order, and what has been taken per context.

A cancelled context's messages are purged here: what the socket has not taken is never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from server.frames import CLOCK_HZ, AudioPacket, Flags, pack_batch

SESSION = 0  # no context has this alias
KEPT_SAMPLES = 10 * CLOCK_HZ  # of what was taken, for a client that comes back


@dataclass(frozen=True, slots=True)
class Sent:
    """How far the writing of a context's audio is.

    Attributes:
        last_seq: Of the last packet written, -1 before the first.
        pts_end: End of the last packet written, 48 kHz samples.
    """

    last_seq: int = -1
    pts_end: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    alias: int  # SESSION for what concerns no context
    data: str | bytes
    sent: Sent | None = None  # for audio: the context's state once it is taken
    is_pinned: bool = False  # survives a purge
    is_framed: bool = False  # has a binary header


@dataclass(slots=True)
class _Kept:
    """What was taken of a context lately, with the pts it had reached then."""

    items: deque[tuple[int, _Item]] = field(default_factory=deque)
    announcement: _Item | None = None  # of the context, where it is older


class Outbox:
    """The queue between utterances and the socket's writer."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._sent: dict[int, Sent] = {}
        self._kept: dict[int, _Kept] = {}  # by context that may be resumed

    def __len__(self) -> int:
        return len(self._items)

    def put_text(self, data: str, *, alias: int = SESSION, is_pinned: bool = False) -> None:
        """Queue a JSON message; pinned ones survive a purge."""
        self._items.append(_Item(alias, data, is_pinned=is_pinned))

    def put_first(self, data: str) -> None:
        """Queue a JSON message of the session before everything else."""
        self._items.appendleft(_Item(SESSION, data))

    def put_audio(self, packets: Sequence[AudioPacket], alias: int, *, is_raw: bool) -> None:
        """Queue consecutive packets: one message with a header, or bare ones if `is_raw`."""
        if is_raw:
            for packet in packets:
                self._items.append(_Item(alias, packet.payload, _after(packet)))
        else:
            data = pack_batch(packets, alias)
            self._items.append(_Item(alias, data, _after(packets[-1]), is_framed=True))

    def take(self) -> str | bytes | None:
        """Remove and return the next message; None if there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        if item.sent is not None and item.alias in self._sent:
            self._sent[item.alias] = item.sent
        if item.alias in self._kept:
            self._keep(item)
        return item.data

    def _keep(self, item: _Item) -> None:
        """Keep what was taken, ten seconds of audio back."""
        kept, newest = self._kept[item.alias], self.sent(item.alias).pts_end
        kept.items.append((newest, item))
        while newest - kept.items[0][0] > KEPT_SAMPLES:
            _, dropped = kept.items.popleft()
            if dropped.is_pinned:
                kept.announcement = dropped

    def rewind(self, alias: int, last_seq: int) -> None:
        """Queue again, in front, what was taken after the packet `last_seq` of a context.

        Args:
            last_seq: -1 for a client that has nothing: the announcement is sent again too.
        """
        kept = self._kept.get(alias)
        if kept is None:
            return
        taken = [item for _, item in kept.items]
        had = [i for i, item in enumerate(taken) if item.sent and item.sent.last_seq <= last_seq]
        again = taken[had[-1] + 1 :] if had else taken
        if kept.announcement is not None and last_seq < 0:
            again = [kept.announcement, *again]
        for _ in range(len(taken) - (had[-1] + 1 if had else 0)):
            kept.items.pop()  # they are kept again when they are taken again
        self._items.extendleft(_replayed(item) for item in reversed(again))

    def purge(self, alias: int) -> None:
        """Drop what is queued for a context."""
        kept = [item for item in self._items if item.alias != alias or item.is_pinned]
        self._items = deque(kept)
        if alias in self._kept:
            self._kept[alias].items.clear()

    def watch(self, alias: int, *, keeps: bool = False) -> None:
        """Follow a context's audio from here on; keep what is taken if it may be resumed."""
        self._sent[alias] = Sent()
        if keeps:
            self._kept[alias] = _Kept()

    def sent(self, alias: int) -> Sent:
        """Return how far the writing of a context's audio is."""
        return self._sent.get(alias, Sent())

    def forget(self, alias: int) -> None:
        """Drop what is kept about a context that is over."""
        self._sent.pop(alias, None)
        self._kept.pop(alias, None)

    def bytes_queued(self) -> int:
        """Return the size of everything queued."""
        return sum(len(item.data) for item in self._items)


def _replayed(item: _Item) -> _Item:
    """Return an item marked as sent before, where it has a header to say so."""
    if not item.is_framed or isinstance(item.data, str):
        return item
    head = item.data[:1] + bytes([item.data[1] | Flags.REPLAY])
    return replace(item, data=head + item.data[2:])


def _after(packet: AudioPacket) -> Sent:
    return Sent(packet.seq, packet.pts + packet.duration)
