"""Any messages in any order: nothing raises, nothing speaks for a closed context."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server import events
from server.frames import unpack
from server.messages import CLIENT_TYPES
from server.protocol import Limits
from tests.server.protocol.peer import Peer

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


@hypothesis_settings(max_examples=100)
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
