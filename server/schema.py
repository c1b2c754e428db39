"""JSON Schema and AsyncAPI documents of the native protocol, made from what the server parses with.

`python -m server.schema DIRECTORY` writes them; a test fails when the committed ones are stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from server import messages
from server.errors import ERROR_CODES
from server.frames import HEADER_BYTES
from server.settings import Settings
from server.wire import Length, Range, encode, field_types

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number"}
# Messages whose settings stand beside their own fields on the wire, or under another name.
_FLAT = {messages.ContextOpen: "overrides", messages.Update: "changes"}


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of a field's annotation.

    Raises:
        TypeError: For an annotation the wire does not have.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        options = [schema_of(arg) for arg in args if arg is not NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is Annotated:
        return _limited(schema_of(args[0]), args[1:])
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return _tuple(args)
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1])}
    if isinstance(annotation, type) and is_dataclass(annotation):
        return {"$ref": f"#/$defs/{annotation.__name__}"}
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    raise TypeError(f"no schema for {annotation!r}")


def _limited(schema: dict[str, Any], limits: tuple[Any, ...]) -> dict[str, Any]:
    for limit in limits:
        if isinstance(limit, Range):
            schema = {**schema, "minimum": limit.low, "maximum": limit.high}
        elif isinstance(limit, Length):
            kind = "Length" if schema.get("type") == "string" else "Items"
            schema = {**schema, f"min{kind}": limit.low, f"max{kind}": limit.high}
    return schema


def _tuple(args: tuple[Any, ...]) -> dict[str, Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": schema_of(args[0])}
    items = [schema_of(arg) for arg in args]
    return {"type": "array", "prefixItems": items, "minItems": len(args), "maxItems": len(args)}


def object_schema(cls: type, *, skip: str = "") -> dict[str, Any]:
    """Return the schema of a dataclass; unknown fields are allowed, as everywhere on the wire."""
    properties: dict[str, Any] = {}
    required = []
    for f in fields(cls):
        if f.name == skip:
            continue
        properties[f.name] = schema_of(field_types(cls)[f.name])
        if f.default is MISSING and f.default_factory is MISSING:
            required.append(f.name)
        elif f.default not in (MISSING, None) and not isinstance(f.default, tuple):
            properties[f.name] = {**properties[f.name], "default": encode(f.default)}
    text = cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    schema = {"type": "object", "description": text, "properties": properties}
    return {**schema, "required": required} if required else schema


def message_schema(cls: Any) -> dict[str, Any]:
    """Return the schema of one message, its `type` included."""
    if cls is messages.SessionUpdate:
        schema = object_schema(cls, skip="defaults")
        schema["properties"]["defaults"] = {"$ref": "#/$defs/Settings"}
    else:
        schema = object_schema(cls, skip=_FLAT.get(cls, ""))
    if cls in _FLAT:
        schema["allOf"] = [{"$ref": "#/$defs/Settings"}]
    schema["properties"] = {"type": {"const": cls.TYPE}, **schema["properties"]}
    schema["required"] = ["type", *schema.get("required", [])]
    return schema


@cache
def definitions() -> Mapping[str, Any]:
    """Return the schema of every message and of what they hold, by class name."""
    found: dict[str, Any] = {}
    classes = (*get_args(messages.ClientMessage), *get_args(messages.ServerMessage))
    for cls in classes:
        found[cls.__name__] = message_schema(cls)
    waiting = [Settings, *classes]
    while waiting:
        for annotation in field_types(waiting.pop()).values():
            for part in (annotation, *get_args(annotation)):
                is_new = is_dataclass(part) and getattr(part, "__name__", "") not in found
                if is_new and isinstance(part, type):
                    found[part.__name__] = object_schema(part)
                    waiting.append(part)
    return {**found, "Settings": object_schema(Settings)}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of everything that is sent as text."""
    client = [cls.__name__ for cls in get_args(messages.ClientMessage)]
    server = [cls.__name__ for cls in get_args(messages.ServerMessage)]
    return {
        "$schema": DRAFT,
        "title": messages.PROTOCOL,
        "description": "Text messages of the native protocol; #/$defs has one entry per message.",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in (*client, *server)],
        "$defs": dict(definitions()),
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document: the channel, who sends what, the binary frames."""
    client, server = get_args(messages.ClientMessage), get_args(messages.ServerMessage)
    entries = {cls.__name__: _asyncapi_message(cls) for cls in (*client, *server)}
    entries["Audio"] = {
        "name": "audio",
        "contentType": "application/octet-stream",
        "summary": f"One or more packets behind an h16 header of {HEADER_BYTES} bytes.",
    }
    channel = {"$ref": "#/channels/session"}
    names = {"receive": [c.__name__ for c in client], "send": [c.__name__ for c in server]}
    names["send"].append("Audio")
    operations = {
        action: {
            "action": action,
            "channel": channel,
            "messages": [{"$ref": f"#/channels/session/messages/{name}"} for name in listed],
        }
        for action, listed in names.items()
    }
    codes = ", ".join(f"{e.code} ({e.status})" for e in ERROR_CODES.values())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "sovits-live",
            "version": messages.PROTOCOL.rsplit(".v", 1)[1],
            "description": f"Streaming text-to-speech. Error codes: {codes}.",
        },
        "channels": {
            "session": {
                "address": "/v1/tts/ws",
                "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in entries},
            }
        },
        "operations": operations,
        "components": {
            "messages": entries,
            "schemas": _moved(dict(definitions())),
        },
    }


def _asyncapi_message(cls: Any) -> dict[str, Any]:
    payload = {"$ref": f"#/components/schemas/{cls.__name__}"}
    summary = cleandoc(cls.__doc__ or "").split("\n")[0]
    return {
        "name": cls.TYPE,
        "contentType": "application/json",
        "summary": summary,
        "payload": payload,
    }


def _moved(value: Any) -> Any:
    """Point references at where AsyncAPI keeps schemas."""
    if isinstance(value, dict):
        return {key: _moved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item) for item in value]
    is_ref = isinstance(value, str) and value.startswith("#/$defs/")
    return value.replace("#/$defs/", "#/components/schemas/") if is_ref else value


DOCUMENTS = {"protocol.schema.json": json_schema, "protocol.asyncapi.json": asyncapi}


def render(name: str) -> str:
    """Return the text of one of the documents."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"


def main(directory: Path) -> None:
    """Write all documents."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in DOCUMENTS:
        (directory / name).write_text(render(name), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
