"""The life of a context in the session state machine: open, text, flush, update, end, reuse."""

from __future__ import annotations

import pytest

from server import events
from server.context_table import State
from server.frames import unpack
from server.settings import Settings
from tests.server.protocol.peer import Peer, codes


def test_first_text_opens_a_context() -> None:
    """No context.open is needed."""
    peer = Peer()
    assert peer.send("text", ctx="a", text="hi", end=True) == [
        events.ContextOpened(1, "a", Settings()),
        events.TextAppended(1, "hi"),
        events.TextEnded(1),
    ]
    assert peer.protocol.state_of(1) is State.DRAINING


def test_text_can_flush_and_flush_can_have_an_id() -> None:
    """Both forms ask the utterance to speak what is buffered."""
    peer = Peer()
    assert peer.send("text", ctx="a", text="hi", flush=True)[-1] == events.FlushRequested(1, None)
    assert peer.send("flush", ctx="a", id="f1") == [events.FlushRequested(1, "f1")]


def test_empty_text_opens_without_text() -> None:
    """An opening message with no text carries nothing to the utterance."""
    assert Peer().send("text", ctx="a", text="") == [events.ContextOpened(1, "a", Settings())]


def test_half_an_emoji_at_the_end_is_not_lost() -> None:
    """What the intake held back is delivered before the end."""
    peer = Peer()
    peer.send("text", ctx="a", text="x\ud83d")
    assert peer.send("end", ctx="a") == [events.TextAppended(1, "\ufffd"), events.TextEnded(1)]


def test_context_open_takes_overrides() -> None:
    """They apply over the session's defaults, which session.update changes."""
    peer = Peer()
    peer.send("session.update", defaults={"speed": 1.5, "lead_ms": 400})
    updated = peer.received()[0]
    assert updated["type"] == "session.updated"
    assert (updated["defaults"]["speed"], updated["defaults"]["format"]["rate"]) == (1.5, 24000)
    opened = peer.send("context.open", ctx="a", speed=2.0)[0]
    assert isinstance(opened, events.ContextOpened)
    assert (opened.settings.speed, opened.settings.lead_ms) == (2.0, 400)


def test_opening_an_open_context_is_a_conflict() -> None:
    """The first one goes on."""
    peer = Peer()
    peer.open()
    assert peer.send("context.open", ctx="a") == []
    error = peer.received()[0]
    assert (error["code"], error["status"], error["ctx"]) == ("context_conflict", 409, "a")
    assert peer.send("text", ctx="a", text="x") == [events.TextAppended(1, "x")]


def test_a_finished_id_may_be_used_again() -> None:
    """The new context is unrelated: another alias."""
    peer = Peer()
    peer.send("text", ctx="a", text="hi", end=True)
    assert peer.done(1)
    assert peer.open() == 2


def test_text_after_end_is_a_conflict() -> None:
    """Until the context is done; flush and end likewise."""
    peer = Peer()
    peer.send("text", ctx="a", text="hi", end=True)
    for kind, fields in (("text", {"text": "x"}), ("flush", {}), ("end", {})):
        assert peer.send(kind, ctx="a", **fields) == []
        assert codes(peer.received()) == ["context_conflict"]


@pytest.mark.parametrize("kind", ["flush", "end", "cancel", "update"])
def test_an_unknown_context_is_named(kind: str) -> None:
    """The error lists those that are open."""
    peer = Peer()
    assert peer.send(kind, ctx="zz") == []
    assert peer.received()[0]["message"] == "ctx is 'zz', valid: none is open"


def test_a_late_ack_is_no_fault() -> None:
    """Playback goes on after the last packet."""
    peer = Peer()
    peer.open()
    assert peer.send("ack", ctx="a", seq=3) == [events.PlaybackAcked(1, None, 3)]
    assert peer.send("ack", ctx="zz", played_ms=3) == []
    assert peer.received() == []


def test_update_reaches_the_utterance() -> None:
    """Only what may change between two sentences."""
    peer = Peer()
    peer.open()
    event = peer.send("update", ctx="a", speed=1.5, lead_ms=1)[0]
    assert isinstance(event, events.SettingsUpdated)
    assert (event.settings.speed, event.settings.lead_ms) == (1.5, 2000)


def test_framing_raw_admits_one_context() -> None:
    """Bare packets do not say whose they are."""
    peer = Peer()
    alias = peer.open("a", framing="raw")
    peer.audio(alias)
    assert peer.received() == [b"opus"]
    peer.send("context.open", ctx="b")
    assert codes(peer.received()) == ["context_conflict"]
    peer = Peer()
    peer.open("a")
    peer.send("context.open", ctx="b", framing="raw")
    assert codes(peer.received()) == ["context_conflict"]


def test_audio_carries_the_alias() -> None:
    """Two contexts' packets are told apart by their header."""
    peer = Peer()
    first, second = peer.open("a"), peer.open("b")
    peer.audio(second)
    peer.audio(first)
    assert [unpack(data)[0].alias for data in peer.received()] == [second, first]


def test_starved_and_back() -> None:
    """A context that has spoken everything waits for text; one that drains does not starve."""
    peer = Peer()
    peer.open()
    peer.protocol.starve(1)
    assert peer.protocol.state_of(1) is State.OPEN
    peer.segment(1)
    assert peer.protocol.state_of(1) is State.STREAMING
    peer.protocol.starve(1)
    assert peer.protocol.state_of(1) is State.STARVED
    peer.send("text", ctx="a", text="x")
    assert peer.protocol.state_of(1) is State.STREAMING
    peer.send("end", ctx="a")
    assert peer.segment(1)
    assert peer.protocol.state_of(1) is State.DRAINING
    peer.protocol.starve(99)
    assert peer.protocol.state_of(99) is None


def test_aliases_wrap_and_skip_those_in_use() -> None:
    """Sixteen bits, never zero, never one that is taken."""
    peer = Peer()
    peer.open("keep")
    peer.protocol._contexts._next_alias = 0xFFFF
    assert peer.open("x") == 0xFFFF
    assert peer.open("y") == 2
