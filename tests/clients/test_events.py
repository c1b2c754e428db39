"""The client reads everything the server can write, and refuses what is not of the protocol."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import events
from clients.errors import BadMessage
from server import frames, messages

SERVER_TYPES = {cls.TYPE: cls for cls in typing.get_args(messages.ServerMessage)}


def test_every_message_of_the_server_is_known() -> None:
    """By its wire name."""
    assert set(SERVER_TYPES) == set(events.MESSAGE_TYPES)
    assert events.SUBPROTOCOL == messages.PROTOCOL


@pytest.mark.parametrize("kind", sorted(SERVER_TYPES))
def test_fields_have_the_names_the_server_gives_them(kind: str) -> None:
    """No field of the client is misspelled, and none it requires is optional at the server."""
    theirs = {f.name: f for f in dataclasses.fields(SERVER_TYPES[kind])}
    for ours in dataclasses.fields(events.MESSAGE_TYPES[kind]):
        assert ours.name in theirs
        if ours.default is dataclasses.MISSING and ours.default_factory is dataclasses.MISSING:
            assert theirs[ours.name].default is dataclasses.MISSING


def test_message_of_the_server_is_parsed() -> None:
    """A round trip through both sides' code."""
    sent = messages.SegmentStarted("c1", 2, "好。", 960, 3, 5, 300, "好。")
    assert events.parse_message(messages.encode_message(sent)) == events.SegmentStarted(
        "c1", 2, "好。", 960, 3, 5, 300, "好。"
    )


def test_unknown_types_and_fields_are_ignored() -> None:
    """A newer server may say more."""
    assert events.parse_message('{"type":"mood","value":1}') is None
    pong = events.parse_message('{"type":"pong","t":3,"server_t":1,"extra":[]}')
    assert pong == events.Pong(3, 1)


@pytest.mark.parametrize("data", ["", "[]", "{}", "1", '{"type":"context.done","ctx":"c1"}'])
def test_what_is_no_message_is_refused(data: str) -> None:
    """With the missing field named."""
    with pytest.raises(BadMessage, match="no message|has no total_samples48"):
        events.parse_message(data)


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6),
    seq=st.integers(0, 2**31),
    pts=st.integers(0, 2**31),
    alias=st.integers(1, 65535),
    seg=st.integers(0, 65535),
)
def test_frames_of_the_server_are_parsed(
    payloads: list[bytes], seq: int, pts: int, alias: int, seg: int
) -> None:
    """Single and batched packets come back with their own seq, pts and flags."""
    sent = [
        frames.AudioPacket(payload, seq + i, pts + 960 * i, 960, seg)
        for i, payload in enumerate(payloads)
    ]
    sent[0] = dataclasses.replace(sent[0], flags=frames.Flags.FIRST | frames.Flags.SEG_START)
    last_flags = sent[-1].flags | frames.Flags.LAST
    sent[-1] = dataclasses.replace(sent[-1], flags=last_flags)
    parsed_alias, parsed = events.parse_audio(frames.pack_batch(sent, alias))
    assert parsed_alias == alias
    assert parsed == [
        events.AudioPacket(p.payload, p.seq, p.pts, p.duration, p.seg, int(p.flags)) for p in sent
    ]
    assert [p.is_last for p in parsed] == [False] * (len(sent) - 1) + [True]


def test_flags_are_the_servers() -> None:
    """By name and value."""
    for flag in frames.Flags:
        if flag:
            assert getattr(events, str(flag.name)) == flag


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"\x02" + bytes(15), "version 2"),
        (b"\x01\x10" + bytes(14), "empty batch"),
        (b"\x01\x10" + bytes(14) + b"\x00\x09ab", "cut short"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, reason: str) -> None:
    """With the reason."""
    with pytest.raises(BadMessage, match=reason):
        events.parse_audio(data)
