"""What waits to be written on one session, in order, and what has been taken per context.

A cancelled context's messages are purged here: what the socket has not taken is never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from server.frames import AudioPacket, pack_batch

SESSION = 0  # no context has this alias


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


class Outbox:
    """The queue between utterances and the socket's writer."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._sent: dict[int, Sent] = {}

    def __len__(self) -> int:
        return len(self._items)

    def put_text(self, data: str, *, alias: int = SESSION, is_pinned: bool = False) -> None:
        """Queue a JSON message; pinned ones survive a purge."""
        self._items.append(_Item(alias, data, is_pinned=is_pinned))

    def put_audio(self, packets: Sequence[AudioPacket], alias: int, *, is_raw: bool) -> None:
        """Queue consecutive packets: one message with a header, or bare ones if `is_raw`."""
        if is_raw:
            for packet in packets:
                self._items.append(_Item(alias, packet.payload, _after(packet)))
        else:
            self._items.append(_Item(alias, pack_batch(packets, alias), _after(packets[-1])))

    def take(self) -> str | bytes | None:
        """Remove and return the next message; None if there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        if item.sent is not None and item.alias in self._sent:
            self._sent[item.alias] = item.sent
        return item.data

    def purge(self, alias: int) -> None:
        """Drop what is queued for a context."""
        kept = [item for item in self._items if item.alias != alias or item.is_pinned]
        self._items = deque(kept)

    def watch(self, alias: int) -> None:
        """Follow a context's audio from here on."""
        self._sent[alias] = Sent()

    def sent(self, alias: int) -> Sent:
        """Return how far the writing of a context's audio is."""
        return self._sent.get(alias, Sent())

    def forget(self, alias: int) -> None:
        """Drop what is kept about a context that is over."""
        self._sent.pop(alias, None)

    def bytes_queued(self) -> int:
        """Return the size of everything queued."""
        return sum(len(item.data) for item in self._items)


def _after(packet: AudioPacket) -> Sent:
    return Sent(packet.seq, packet.pts + packet.duration)
