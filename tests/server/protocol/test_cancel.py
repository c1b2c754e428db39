"""Silencing contexts: cancel, preempt, what was heard."""

from __future__ import annotations

from server import events, messages
from server.outbox import Sent
from server.protocol import Limits
from tests.server.protocol.peer import Peer, codes


def test_cancel_silences_the_context_at_once() -> None:
    """Queued packets are purged, later ones refused, only the confirmation passes, once."""
    peer = Peer()
    peer.open()
    assert peer.segment(1)
    assert peer.audio(1)
    peer.received()
    assert peer.audio(1, 1)
    assert peer.send("cancel", ctx="a", played_ms=7, fade_ms=80) == [
        events.CancelRequested(1, "client", 7.0, 80.0)
    ]
    assert peer.received() == []
    assert peer.protocol.sent(1) == Sent(0, 960)
    assert peer.send("cancel", ctx="a") == []
    assert not peer.audio(1, 2)
    assert not peer.done(1)
    assert codes(peer.received()) == []
    peer.send("text", ctx="a", text="late")
    assert codes(peer.received()) == ["context_conflict"]
    assert peer.cancelled(1)
    assert not peer.cancelled(1)
    assert not peer.audio(1, 3)
    assert [message["type"] for message in peer.received()] == ["context.cancelled"]


def test_cancel_keeps_the_announcement() -> None:
    """context.started is not purged: context.cancelled must not come out of nowhere."""
    peer = Peer()
    peer.open()
    started = messages.ContextStarted("a", 1, "opus", 24000, 20, 312, "v", "s", "zh", 1.0, 7, 2000)
    assert peer.protocol.send(1, started)
    peer.send("cancel", ctx="a")
    assert [message["type"] for message in peer.received()] == ["context.started"]


def test_cancel_star_cancels_all() -> None:
    """With nothing open it does nothing."""
    peer = Peer()
    peer.open("a")
    peer.open("b")
    assert [type(event) for event in peer.send("cancel", ctx="*")] == [events.CancelRequested] * 2
    assert Peer().send("cancel", ctx="*") == []


def test_cancel_after_done_asks_what_was_heard() -> None:
    """What was sent may still be playing; the answer is one context.cancelled."""
    peer = Peer()
    peer.send("text", ctx="a", text="hi", end=True)
    peer.audio(1)
    peer.done(1)
    assert peer.protocol.num_active == 0
    assert not peer.audio(1, 1)
    assert not peer.segment(1)
    assert isinstance(peer.send("cancel", ctx="a")[0], events.CancelRequested)
    assert peer.cancelled(1)
    peer.received()
    assert peer.send("cancel", ctx="a") == []
    assert codes(peer.received()) == ["context_unknown"]


def test_preempt_cancels_the_others() -> None:
    """One message opens the new context and stops the old ones, even at the limit."""
    peer = Peer(Limits(max_contexts=2))
    peer.open("a")
    cancelled, opened = peer.send("context.open", ctx="b", preempt="fade")
    assert cancelled == events.CancelRequested(1, "preempted", None, 120.0)
    assert isinstance(opened, events.ContextOpened)
    now, _ = peer.send("context.open", ctx="c", preempt="now")
    assert now == events.CancelRequested(2, "preempted", None, None)


def test_contexts_that_never_stop_are_limited() -> None:
    """Preempting again and again cannot pile up contexts without end."""
    peer = Peer(Limits(max_contexts=1))
    for ctx in "abcdef":
        peer.send("context.open", ctx=ctx, preempt="now")
    assert peer.protocol.num_active == 2
    assert codes(peer.received()) == ["context_limit"] * 4


def test_cancel_all_and_refusals() -> None:
    """Asked for by the session, not by the client."""
    peer = Peer()
    peer.open("a")
    assert peer.protocol.cancel_all("closed") == [events.CancelRequested(1, "closed")]
    peer.protocol.refuse("session_expired", "gone")
    peer.protocol.resume("s", {})
    first, second = peer.received()
    assert (first["type"], second["code"], second["fatal"]) == (
        "session.resumed",
        "session_expired",
        False,
    )
