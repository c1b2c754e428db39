"""The session state machine, by tables of what comes in and what goes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server import events, messages
from server.context_table import MAX_FAILED, MAX_FINISHED, State
from server.errors import ClientError
from server.frames import AudioPacket, unpack
from server.messages import CLIENT_TYPES
from server.outbox import Sent
from server.protocol import Limits, SessionProtocol
from server.settings import Settings


class Peer:
    """Both sides of a protocol: what a client sends, what utterances answer."""

    def __init__(
        self, limits: Limits | None = None, check: Callable[[Settings], None] | None = None
    ) -> None:
        self.protocol = SessionProtocol(
            limits or Limits(),
            Settings(),
            new_request_id=lambda: "r1",
            unix_ms=lambda: 1234,
            check=check or (lambda settings: None),
        )

    def send(self, kind: str, **fields: object) -> list[events.Event]:
        """Send one JSON message."""
        return self.protocol.receive_text(json.dumps({"type": kind, **fields}))

    def open(self, ctx: str = "a", **fields: object) -> int:
        """Open a context and return its alias."""
        opened = self.send("context.open", ctx=ctx, **fields)[-1]
        assert isinstance(opened, events.ContextOpened)
        return opened.alias

    def received(self) -> list[Any]:
        """Return everything that would be written, JSON parsed."""
        taken = []
        while (data := self.protocol.take()) is not None:
            taken.append(json.loads(data) if isinstance(data, str) else data)
        return taken

    def audio(self, alias: int, seq: int = 0) -> bool:
        """Let the utterance send one packet."""
        packet = AudioPacket(b"opus", seq, 960 * seq, 960, 0)
        return self.protocol.send_audio(alias, [packet])

    def segment(self, alias: int, ctx: str = "a", end: int = 2) -> bool:
        """Let the utterance start a sentence."""
        return self.protocol.send(alias, messages.SegmentStarted(ctx, 0, "hi", 0, 0, end))

    def done(self, alias: int, ctx: str = "a") -> bool:
        """Let the utterance finish."""
        usage, timings = messages.Usage(2, 20, 1), messages.Timings(1, 0, 0.1, 0)
        return self.protocol.send(alias, messages.ContextDone(ctx, 960, 1, usage, timings))

    def cancelled(self, alias: int, ctx: str = "a") -> bool:
        """Let the utterance confirm a cancel."""
        message = messages.ContextCancelled(ctx, "client", 0, 0, "", "hi", 1, -1)
        return self.protocol.send(alias, message)


def codes(received: list[Any]) -> list[str]:
    """Return the codes of the errors and warnings among messages."""
    return [item["code"] for item in received if isinstance(item, dict) and "code" in item]


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


def test_context_limit_swallows_the_refused_text() -> None:
    """One error, not one per delta, and nothing of it is spoken later."""
    peer = Peer(Limits(max_contexts=1))
    peer.open("a")
    assert peer.send("text", ctx="b", text="x") == []
    assert peer.received()[0]["ctx"] == "b"
    for kind, fields in (("text", {"text": "y"}), ("flush", {}), ("update", {}), ("cancel", {})):
        assert peer.send(kind, ctx="b", **fields) == []
    peer.send("text", ctx="b", text="x")
    assert codes(peer.received()) == ["context_limit"]
    peer.send("end", ctx="b")
    peer.send("cancel", ctx="a")
    peer.cancelled(1)
    assert isinstance(peer.send("text", ctx="b", text="new")[0], events.ContextOpened)


def test_remembers_a_bounded_number_of_failed_and_finished_contexts() -> None:
    """A hostile client cannot grow the tables."""

    def refuse(settings: Settings) -> None:
        raise ClientError("voice_not_found", "no")

    peer = Peer(check=refuse)
    for number in range(MAX_FAILED + 5):
        peer.send("text", ctx=str(number), text="x")
    peer.received()
    peer.send("text", ctx="0", text="x")
    assert codes(peer.received()) == ["voice_not_found"]

    peer = Peer()
    for number in range(MAX_FINISHED + 2):
        alias = peer.open(str(number))
        peer.done(alias, str(number))
    assert peer.protocol.state_of(1) is None
    assert peer.protocol.state_of(MAX_FINISHED) is State.DONE
    peer.done(peer.open("5"), "5")
    assert peer.protocol.state_of(6) is None


@pytest.mark.parametrize(
    ("kind", "fields", "ctx"),
    [
        ("session.update", {"defaults": {"voice": "bob"}}, None),
        ("context.open", {"ctx": "n", "voice": "bob"}, "n"),
        ("update", {"ctx": "a", "voice": "bob"}, "a"),
    ],
)
def test_settings_the_server_cannot_serve_are_refused(
    kind: str, fields: dict[str, object], ctx: str | None
) -> None:
    """At once, by the message that gives them, and nothing changes."""

    def check(settings: Settings) -> None:
        if settings.voice == "bob":
            raise ClientError("voice_not_found", "voice is 'bob', valid: fake")

    peer = Peer(check=check)
    peer.open("a")
    assert peer.send(kind, **fields) == []
    error = peer.received()[0]
    assert (error["code"], error.get("ctx"), error["fatal"]) == ("voice_not_found", ctx, False)
    assert peer.protocol.defaults == Settings()


@pytest.mark.parametrize("kind", ["context.open", "update"])
def test_an_impossible_format_names_its_context(kind: str) -> None:
    """unsupported_format carries the ctx."""
    peer = Peer()
    peer.open("a")
    peer.protocol.defaults = Settings(voice="x")
    ctx = "b" if kind == "context.open" else "a"
    peer.send(kind, ctx=ctx, sample_rate=1, voice="v")
    error = peer.received()
    if kind == "context.open":
        assert (error[0]["code"], error[0]["ctx"]) == ("unsupported_format", "b")
    else:
        assert error == []  # the format of an open context does not change


def test_buffered_text_is_limited() -> None:
    """A refused message leaves the context as it was; spoken text makes room."""
    peer = Peer(Limits(max_buffer_chars=4))
    peer.send("text", ctx="a", text="abc")
    assert peer.send("text", ctx="a", text="de") == []
    assert codes(peer.received()) == ["buffer_full"]
    peer.segment(1, end=3)
    peer.received()
    assert peer.send("text", ctx="a", text="defg") == [events.TextAppended(1, "defg")]


def test_session_text_is_limited() -> None:
    """All contexts together."""
    peer = Peer(Limits(max_session_chars=4))
    peer.send("text", ctx="a", text="abc")
    peer.send("text", ctx="b", text="de")
    assert codes(peer.received()) == ["text_too_long"]


def test_a_message_too_long_is_refused_whole() -> None:
    """In bytes, by the context it names; the session goes on."""
    peer = Peer(Limits(max_text_bytes=64))
    assert peer.send("text", ctx="a", text="x" * 64) == []
    error = peer.received()[0]
    assert (error["code"], error["ctx"]) == ("text_too_long", "a")
    assert peer.send("text", ctx="a", text="x") != []


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


@pytest.mark.parametrize(
    ("data", "code", "close"),
    [("{", "bad_json", 4400), ("{}", "bad_message", 4400), (b"x", "binary_not_allowed", 1003)],
)
def test_three_strikes_in_a_row_end_the_session(data: str | bytes, code: str, close: int) -> None:
    """A good message in between forgives."""
    peer = Peer()

    def strike() -> list[events.Event]:
        if isinstance(data, bytes):
            return peer.protocol.receive_binary(data)
        return peer.protocol.receive_text(data)

    assert strike() == strike() == []
    peer.send("ping")
    assert strike() == strike() == []
    assert strike() == [events.Disconnect(close, code)]
    fatal = [item["fatal"] for item in peer.received() if item["type"] == "error"]
    assert fatal == [False, False, False, False, True]


def test_failing_a_context_spares_the_rest() -> None:
    """Its error is final, its late text swallowed; the other context speaks on."""
    peer = Peer()
    peer.open("a")
    peer.open("b")
    peer.audio(1)
    peer.protocol.fail(1, "engine_failed", "the engine broke", retry_after_ms=5)
    assert not peer.audio(1, 1)
    peer.protocol.fail(1, "internal", "again")
    assert peer.send("text", ctx="a", text="late", end=True) == []
    packet, error = peer.received()
    assert isinstance(packet, bytes)
    assert error == {
        "type": "error",
        "code": "engine_failed",
        "status": 500,
        "message": "the engine broke",
        "retryable": True,
        "request_id": "r1",
        "fatal": True,
        "ctx": "a",
        "retry_after_ms": 5,
    }
    assert peer.audio(2)
    assert isinstance(peer.send("text", ctx="a", text="again")[0], events.ContextOpened)


def test_a_context_may_fail_while_draining() -> None:
    """No text is on its way then, so its id is free at once."""
    peer = Peer()
    peer.send("text", ctx="a", text="hi", end=True)
    peer.protocol.fail(1, "nonsense", "?", request_id="given")
    error = peer.received()[0]
    assert (error["code"], error["request_id"]) == ("internal", "given")
    assert isinstance(peer.send("text", ctx="a", text="x")[0], events.ContextOpened)


def test_a_done_context_cannot_fail() -> None:
    """One end per context."""
    peer = Peer()
    peer.open()
    peer.done(1)
    peer.received()
    peer.protocol.fail(1, "internal", "late")
    assert peer.received() == []


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


def test_aliases_wrap_and_skip_those_in_use() -> None:
    """Sixteen bits, never zero, never one that is taken."""
    peer = Peer()
    peer.open("keep")
    peer.protocol._contexts._next_alias = 0xFFFF
    assert peer.open("x") == 0xFFFF
    assert peer.open("y") == 2


IDS = st.sampled_from(["a", "b", "c", "*", "", "\n"])
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
FIELDS = st.dictionaries(
    st.sampled_from(
        ["text", "flush", "end", "id", "played_ms", "seq", "preempt", "framing", "defaults", "mode"]
    ),
    st.one_of(JUNK, st.dictionaries(st.text(max_size=4), JUNK, max_size=2)),
)
INCOMING = st.one_of(
    st.builds(
        lambda kind, ctx, fields: json.dumps({"type": kind, "ctx": ctx, **fields}),
        st.sampled_from([*CLIENT_TYPES, "other"]),
        IDS,
        FIELDS,
    ),
    st.builds(
        lambda ctx, text, end: json.dumps({"type": "text", "ctx": ctx, "text": text, "end": end}),
        st.sampled_from(["a", "b", "c"]),
        st.text(max_size=5),
        st.booleans(),
    ),
    st.text(max_size=10),
    st.binary(max_size=5),
)
ACTIONS = st.one_of(
    INCOMING,
    st.tuples(
        st.sampled_from(["segment", "audio", "done", "cancelled", "fail", "starve", "take"]),
        st.integers(1, 5),
    ),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_no_sequence_raises_or_speaks_for_a_closed_context(
    actions: list[str | bytes | tuple[str, int]],
) -> None:
    """Whatever comes, in whatever order: no exception, no frame after a context's end."""
    peer = Peer(Limits(max_contexts=2, max_buffer_chars=20, max_session_chars=60))
    names: dict[int, str] = {}
    ended: set[int] = set()

    def watch() -> None:
        for item in peer.received():
            if isinstance(item, bytes) and item != b"opus":
                assert unpack(item)[0].alias not in ended

    for action in actions:
        if isinstance(action, str):
            happened = peer.protocol.receive_text(action)
        elif isinstance(action, bytes):
            happened = peer.protocol.receive_binary(action)
        else:
            happened = []
            name, alias = action
            ctx = names.get(alias, "a")
            if name == "take":
                watch()
            elif name == "fail":
                peer.protocol.fail(alias, "internal", "x")
            elif name == "starve":
                peer.protocol.starve(alias)
            elif name == "audio":
                assert not (peer.audio(alias) and alias in ended)
            elif name == "segment":
                assert not (peer.segment(alias, ctx) and alias in ended)
            elif getattr(peer, name)(alias, ctx) and name == "cancelled":
                watch()
                ended.add(alias)
        for event in happened:
            if isinstance(event, events.ContextOpened):
                assert event.alias not in names
                names[event.alias] = event.ctx
            elif isinstance(event, events.TextAppended):
                assert event.alias in names and event.alias not in ended
    watch()
    assert peer.protocol.num_active <= 4


def test_parking_keeps_what_may_be_resumed() -> None:
    """The rest is cancelled; what finished lately counts, the client may not have all of it."""
    peer = Peer()
    peer.open("keep", resume_ok=True)
    peer.open("drop")
    assert peer.protocol.park() == [events.CancelRequested(2, "disconnected")]
    assert peer.protocol.num_resumable == 1
    peer.audio(1)
    peer.done(1, "keep")
    assert peer.protocol.num_resumable == 1
    peer.received()
    assert peer.protocol.resume({"keep": -1, "other": 5}) == ("keep",)
    packet, done = peer.received()
    assert unpack(packet)[0].seq == 0
    assert done["type"] == "context.done"


def test_cancel_all_and_refusals() -> None:
    """Asked for by the session, not by the client."""
    peer = Peer()
    peer.open("a")
    assert peer.protocol.cancel_all("closed") == [events.CancelRequested(1, "closed")]
    peer.protocol.refuse("session_expired", "gone")
    peer.protocol.send_first(messages.SessionResumed("s", ()))
    first, second = peer.received()
    assert (first["type"], second["code"], second["fatal"]) == (
        "session.resumed",
        "session_expired",
        False,
    )
