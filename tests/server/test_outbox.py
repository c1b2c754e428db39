"""The queue between utterances and the socket."""

from __future__ import annotations

from server.frames import AudioPacket, pack
from server.outbox import Outbox, Sent


def packet(seq: int) -> AudioPacket:
    """Return the 20 ms packet number `seq`."""
    return AudioPacket(bytes([seq]), seq, 960 * seq, 960, 0)


def test_keeps_order_and_counts_only_what_was_taken() -> None:
    """`sent` moves when the writer takes a packet, not when it is queued."""
    outbox = Outbox()
    outbox.watch(1)
    outbox.put_text("a")
    outbox.put_audio([packet(0), packet(1)], 1, is_raw=True)
    assert len(outbox) == 3
    assert outbox.bytes_queued() == 3
    assert [outbox.take(), outbox.take()] == ["a", b"\x00"]
    assert outbox.sent(1) == Sent(0, 960)
    assert outbox.take() == b"\x01"
    assert outbox.take() is None


def test_purge_spares_other_contexts_and_pinned_messages() -> None:
    """A cancelled context loses its queue, nothing else does."""
    outbox = Outbox()
    outbox.put_text("started", alias=1, is_pinned=True)
    outbox.put_audio([packet(0)], 1, is_raw=False)
    outbox.put_audio([packet(0)], 2, is_raw=False)
    outbox.put_text("session")
    outbox.purge(1)
    taken = [outbox.take() for _ in range(3)]
    assert taken == ["started", pack(packet(0), 2), "session"]


def test_forgotten_contexts_leave_nothing() -> None:
    """Packets taken after the end do not bring the counter back."""
    outbox = Outbox()
    outbox.watch(1)
    outbox.put_audio([packet(4)], 1, is_raw=False)
    outbox.forget(1)
    outbox.take()
    assert outbox.sent(1) == Sent(-1, 0)
