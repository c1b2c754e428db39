"""The session's own messages, its end and its second socket."""

from __future__ import annotations

from server import events
from server.frames import unpack
from tests.server.protocol.peer import Peer, codes


def test_ping_close_resume_and_unknown_types() -> None:
    """The rest of the table."""
    peer = Peer()
    assert peer.send("ping", t="x") == []
    assert peer.received() == [{"type": "pong", "server_t": 1234, "t": "x"}]
    assert peer.send("no.such", ctx="a") == []
    warning = peer.received()[0]
    assert warning["type"] == "warning"
    assert "valid: session.update, context.open" in warning["detail"]
    assert peer.send("session.resume", token="t") == [events.ResumeRequested("t", {})]
    assert peer.send("close", mode="now") == [events.CloseRequested("now")]
    peer.send("text", ctx="a", text="x")
    assert codes(peer.received()) == ["draining"]


def test_going_away_refuses_new_contexts_only() -> None:
    """Open ones finish."""
    peer = Peer()
    peer.open("a")
    peer.protocol.go_away(5000)
    assert peer.received() == [{"type": "going_away", "deadline_ms": 5000, "reason": "drain"}]
    assert peer.send("text", ctx="a", text="x") != []
    peer.send("text", ctx="b", text="x")
    assert codes(peer.received()) == ["draining"]
    assert peer.protocol.end_session("idle_timeout", "bye") == events.Disconnect(
        4408, "idle_timeout"
    )
    assert peer.protocol.bytes_queued() > 0


def test_parking_keeps_what_may_be_resumed() -> None:
    """The rest is cancelled; what finished lately counts, the client may not have all of it."""
    peer = Peer()
    peer.open("keep", resume_ok=True)
    peer.open("drop")
    peer.send("text", ctx="keep", text="hi", end=True)
    assert peer.protocol.park() == [events.CancelRequested(2, "disconnected")]
    assert peer.protocol.num_resumable == 1
    peer.audio(1)
    peer.done(1, "keep")
    assert peer.protocol.num_resumable == 1
    peer.received()
    peer.protocol.resume("s1", {"keep": -1, "other": 5})
    resumed, packet, done = peer.received()
    assert resumed == {
        "type": "session.resumed",
        "session_id": "s1",
        "contexts": ["keep"],
        "received": {"keep": 2},
        "ended": ["keep"],
    }
    assert unpack(packet)[0].seq == 0
    assert done["type"] == "context.done"
