"""The queue between utterances and the socket."""

from __future__ import annotations

from server.frames import AudioPacket, Flags, pack, unpack
from server.outbox import KEPT_SAMPLES, Outbox, Sent


def packet(seq: int) -> AudioPacket:
    """Return the 20 ms packet number `seq`."""
    return AudioPacket(bytes([seq % 256]), seq, 960 * seq, 960, 0)


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


def framed(outbox: Outbox) -> list[tuple[int, bool] | str]:
    """Take everything: (seq, was replayed) or text."""
    taken: list[tuple[int, bool] | str] = []
    while (data := outbox.take()) is not None:
        if isinstance(data, str):
            taken.append(data)
        else:
            header, _ = unpack(data)
            taken.append((header.seq, Flags.REPLAY in header.flags))
    return taken


def resumable(count: int) -> Outbox:
    """Return an outbox whose context 1 has announced itself and sent so many packets, all taken."""
    outbox = Outbox()
    outbox.watch(1, keeps=True)
    outbox.put_text("started", alias=1, is_pinned=True)
    for seq in range(count):
        outbox.put_audio([packet(seq)], 1, is_raw=False)
        if seq == 1:
            outbox.put_text("segment", alias=1)
    framed(outbox)
    return outbox


def test_rewind_sends_again_what_followed() -> None:
    """Marked, in order, before what waits; messages between packets come along."""
    outbox = resumable(4)
    outbox.put_audio([packet(4)], 1, is_raw=False)
    outbox.rewind(1, 1)
    assert framed(outbox) == ["segment", (2, True), (3, True), (4, False)]
    outbox.rewind(1, 4)
    assert framed(outbox) == []
    outbox.rewind(1, 0)
    assert framed(outbox) == [(1, True), "segment", (2, True), (3, True), (4, True)]


def test_rewind_to_nothing_starts_with_the_announcement() -> None:
    """Also when it is older than what is kept."""
    outbox = resumable(3)
    outbox.rewind(1, -1)
    assert framed(outbox)[:2] == ["started", (0, True)]
    count = KEPT_SAMPLES // 960 + 100
    outbox = resumable(count)
    outbox.rewind(1, -1)
    again = framed(outbox)
    assert again[0] == "started"
    assert again[1] == (count - 1 - KEPT_SAMPLES // 960, True)
    assert again[-1] == (count - 1, True)


def test_only_resumable_contexts_are_kept() -> None:
    """And a cancelled one is not sent again; bare packets cannot be marked."""
    outbox = Outbox()
    outbox.watch(1)
    outbox.put_audio([packet(0)], 1, is_raw=False)
    outbox.take()
    outbox.rewind(1, -1)
    assert len(outbox) == 0
    outbox = resumable(3)
    outbox.purge(1)
    outbox.rewind(1, -1)
    assert framed(outbox) == []
    outbox = Outbox()
    outbox.watch(2, keeps=True)
    outbox.put_audio([packet(7)], 2, is_raw=True)
    outbox.take()
    outbox.rewind(2, -1)
    assert outbox.take() == b"\x07"


def test_session_messages_can_go_first() -> None:
    """Before what waits."""
    outbox = Outbox()
    outbox.put_text("second")
    outbox.put_first("first")
    assert [outbox.take(), outbox.take()] == ["first", "second"]
