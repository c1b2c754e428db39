"""What the session state machine refuses, and how a context or a session fails."""

from __future__ import annotations

import pytest

from server import events, messages
from server.context_table import MAX_FAILED, MAX_FINISHED, State
from server.errors import ClientError
from server.protocol import Limits
from server.settings import Settings
from tests.server.protocol.peer import Peer, codes


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


def test_waiting_flushes_are_limited() -> None:
    """By either message, and a refused one leaves the context as it was; answers make room."""
    peer = Peer(Limits(max_buffer_chars=2))
    peer.send("text", ctx="a", text="a", flush=True)
    peer.send("flush", ctx="a")
    assert peer.send("flush", ctx="a") == []
    assert peer.send("text", ctx="a", text="b", flush=True) == []
    assert codes(peer.received()) == ["buffer_full"] * 2
    peer.protocol.send(1, messages.FlushDone("a", 0))
    assert peer.send("text", ctx="a", text="b", flush=True) == [
        events.TextAppended(1, "b"),
        events.FlushRequested(1, None),
    ]
    assert peer.send("text", ctx="a", text="", flush=True, end=True) == [events.TextEnded(1)]


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
