"""The published documents say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from server import messages, schema
from server.errors import ClientError
from tests.server.live import serve

FOLDER = Path(__file__).parents[2] / "server" / "schema_files"


def validator(name: str) -> Draft202012Validator:
    """Return what validates one message."""
    whole = schema.json_schema()
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": whole["$defs"]})


@pytest.mark.parametrize("name", schema.DOCUMENTS)
def test_the_committed_documents_are_current(name: str) -> None:
    """Write them again with: python -m server.schema server/schema_files."""
    assert (FOLDER / name).read_text(encoding="utf-8") == schema.render(name)


def test_main_writes_all_documents(tmp_path: Path) -> None:
    """Into a folder it makes."""
    schema.main(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(schema.DOCUMENTS)


def test_the_schema_is_one() -> None:
    """Every reference resolves."""
    Draft202012Validator.check_schema(schema.json_schema())
    references = re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema.json_schema()))
    assert set(references) <= set(schema.definitions())
    assert "#/$defs/" not in json.dumps(schema.asyncapi())


CASES: list[tuple[str, dict[str, Any]]] = [
    ("Text", {"ctx": "a", "text": "x", "end": True, "unknown": 1}),
    ("Text", {"ctx": "a"}),
    ("Text", {"ctx": "a" * 65, "text": "x"}),
    ("Text", {"ctx": "a", "text": 5}),
    ("ContextOpen", {"ctx": "a", "speed": 1.5, "preempt": "now"}),
    ("ContextOpen", {"ctx": "a", "speed": 9}),
    ("ContextOpen", {"ctx": "a", "preempt": True}),
    ("ContextOpen", {"ctx": "a", "format": {"codec": "mp3"}}),
    ("SessionUpdate", {"defaults": {"timings": ["word"], "chunking": {"schedule": [8]}}}),
    ("SessionUpdate", {"defaults": {"timings": ["words"]}}),
    ("Update", {"ctx": "a", "voice": "v"}),
    ("Flush", {"ctx": "a", "id": 3}),
    ("Flush", {"ctx": "a", "id": -3}),
    ("Cancel", {"ctx": "*", "played_ms": 3.5}),
    ("Cancel", {"ctx": "*", "played_ms": -3.5}),
    ("SessionResume", {"token": "t", "last": {"a": 1}}),
    ("SessionResume", {"token": "t", "last": {"a": "x"}}),
    ("Ping", {"t": "x"}),
    ("Ping", {"t": []}),
    ("Close", {"mode": "later"}),
]


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_schema_and_decoder_agree(name: str, fields: dict[str, Any]) -> None:
    """What the one refuses, the other refuses."""
    message = {"type": getattr(messages, name).TYPE, **fields}
    try:
        messages.decode_message(json.dumps(message))
    except ClientError:
        is_taken = False
    else:
        is_taken = True
    assert validator(name).is_valid(message) == is_taken


async def test_what_the_server_says_fits_the_schema() -> None:
    """Every message of a session with cancel, errors and timings."""
    by_type = {cls.TYPE: name for name, cls in vars(messages).items() if hasattr(cls, "TYPE")}
    async with serve() as live, live.session() as client:
        wanted = {"timings": ["char", "word", "phoneme", "viseme", "rms"]}
        await client.send("session.update", defaults=wanted)
        await client.send("nonsense")
        await client.send("text", ctx="a", text=5)
        await client.send("text", ctx="a", text="One two. ", flush=True)
        await client.send("text", ctx="b", text="One two.")
        await client.send("ping")
        await client.next("flush.done")
        await client.send("cancel", ctx="b")
        await client.send("end", ctx="a")
        await client.next("context.done")
        await client.send("close")
        await client.rest()
    seen = [item for item in client.log if isinstance(item, dict)]
    assert {item["type"] for item in seen} >= {
        *("ready", "session.updated", "warning", "error", "context.started", "segment.started"),
        *("timing", "segment.done", "flush.done", "context.cancelled", "context.done", "pong"),
    }
    for item in seen:
        validator(by_type[item["type"]]).validate(item)


def test_an_annotation_the_wire_does_not_have() -> None:
    """Is found when the documents are made, not by a client."""
    with pytest.raises(TypeError, match="no schema for"):
        schema.schema_of(bytes)
