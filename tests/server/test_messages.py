"""JSON in and out of the native protocol."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from server import messages
from server.errors import ClientError
from server.messages import decode_message, encode_message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "text", "ctx": "a", "text": "hi"}, messages.Text("a", "hi")),
        (
            {"type": "text", "ctx": "a", "text": "", "flush": True, "end": True, "x": 1},
            messages.Text("a", "", True, True),
        ),
        ({"type": "flush", "ctx": "a", "id": 7}, messages.Flush("a", 7)),
        ({"type": "end", "ctx": "a"}, messages.End("a")),
        ({"type": "cancel", "ctx": "*", "played_ms": 5}, messages.Cancel("*", 5.0)),
        ({"type": "ack", "ctx": "a", "seq": 3}, messages.Ack("a", None, 3)),
        (
            {"type": "update", "ctx": "a", "speed": 1.5, "seed": 1},
            messages.Update("a", {"speed": 1.5}),
        ),
        (
            {"type": "context.open", "ctx": "a", "preempt": "fade", "format": {"codec": "mulaw"}},
            messages.ContextOpen("a", False, "fade", {"format": {"codec": "mulaw"}}),
        ),
        (
            {"type": "context.open", "ctx": "a", "overrides": {"speed": 99}},
            messages.ContextOpen("a"),
        ),
        (
            {"type": "session.update", "defaults": {"voice": "v", "timings": ["word"]}},
            messages.SessionUpdate({"voice": "v", "timings": ("word",)}),
        ),
        ({"type": "session.update"}, messages.SessionUpdate({})),
        (
            {"type": "session.resume", "token": "t", "last": {"a": 4}},
            messages.SessionResume("t", {"a": 4}),
        ),
        ({"type": "ping", "t": 1.5}, messages.Ping(1.5)),
        ({"type": "close"}, messages.Close("drain")),
        ({"type": "no.such"}, messages.Unknown("no.such")),
    ],
)
def test_decodes_client_messages(given: object, expected: object) -> None:
    """Every client message, with its optional fields, becomes its dataclass."""
    assert decode_message(json.dumps(given)) == expected


@pytest.mark.parametrize(
    ("data", "code", "part"),
    [
        ("{", "bad_json", "not JSON"),
        ('{"type":"ping","t":NaN}', "bad_json", "NaN is not JSON"),
        ('{"type":"ping","t":-Infinity}', "bad_json", "-Infinity"),
        ("[" * 60000, "bad_json", "not JSON"),
        ('{"a":' * 9 + "1" + "}" * 9, "bad_json", "deeper than 8"),
        ('{"type":"ping","t":' + "9" * 5000 + "}", "bad_json", "not JSON"),
        ("[1]", "bad_message", "valid: an object"),
        ('"x"', "bad_message", "valid: an object"),
        ("{}", "bad_message", "type is None, valid: session.update"),
        ('{"type":5}', "bad_message", "type is 5"),
        ('{"type":"text","ctx":"a"}', "bad_message", "text is missing, valid: text"),
        ('{"type":"text","ctx":"a","text":5}', "bad_message", "text is 5, valid: text"),
        ('{"type":"text","text":"x"}', "bad_message", "ctx is missing"),
        ('{"type":"text","ctx":"","text":"x"}', "bad_message", "of length 1 to 64"),
        ('{"type":"text","ctx":"*","text":"x"}', "bad_message", "not \\* here"),
        ('{"type":"end","ctx":"a\\nb"}', "bad_message", "control character"),
        ('{"type":"end","ctx":"\\ud800"}', "bad_message", "control character"),
        ('{"type":"cancel","ctx":"a","played_ms":-1}', "bad_message", "played_ms is -1"),
        ('{"type":"cancel","ctx":"a","played_ms":1e999}', "bad_message", "played_ms is inf"),
        ('{"type":"context.open","ctx":"a","speed":9}', "bad_message", "from 0.5 to 2"),
        ('{"type":"context.open","ctx":"a","lang":"xx"}', "unsupported_lang", "lang is 'xx'"),
        ('{"type":"session.update","defaults":3}', "bad_message", "defaults is 3"),
        (
            '{"type":"session.update","defaults":{"format":{"codec":"mp3"}}}',
            "bad_message",
            "defaults.format.codec is 'mp3', valid: opus, pcm_s16le, mulaw, alaw",
        ),
        ('{"type":"ack","ctx":"a","seq":1.5}', "bad_message", "seq is 1.5"),
    ],
)
def test_refuses_bad_client_messages(data: str, code: str, part: str) -> None:
    """Each fault has its code and a message that names field, value and what is valid."""
    with pytest.raises(ClientError, match=part) as caught:
        decode_message(data)
    assert caught.value.code == code


def test_a_bad_field_names_the_context() -> None:
    """The error of a message with a usable ctx concerns that context."""
    with pytest.raises(ClientError) as caught:
        decode_message('{"type":"text","ctx":"a","text":1}')
    assert caught.value.ctx == "a"
    with pytest.raises(ClientError) as caught:
        decode_message(json.dumps({"type": "text", "ctx": "a" * 65, "text": "x"}))
    assert caught.value.ctx is None


def test_encodes_without_absent_fields() -> None:
    """None is left out and the type comes first."""
    message = messages.FlushDone("a", 960)
    assert encode_message(message) == '{"type":"flush.done","ctx":"a","pts_end":960}'


def test_encodes_any_text() -> None:
    """A lone surrogate in an error's text does not break the connection."""
    encoded = encode_message(messages.WarningMessage("c", "\ud800"))
    assert json.loads(encoded.encode())["detail"] == "\ud800"


def test_types_are_unique() -> None:
    """No two messages of a direction share a type."""
    for union in (messages.ClientMessage, messages.ServerMessage):
        types = [cls.TYPE for cls in get_args(union)]
        assert len(types) == len(set(types))
