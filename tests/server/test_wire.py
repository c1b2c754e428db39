"""Dataclasses as strictly typed JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from server.wire import (
    Length,
    Range,
    WireError,
    construct,
    decode,
    decode_patch,
    describe,
    encode,
    merged,
    patched,
)


@dataclass(frozen=True, slots=True)
class Inner:
    size: Annotated[int, Range(1, 9)] = 3
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    id: Annotated[str, Length(1, 4)]
    ratio: float = 1.0
    kind: Literal["a", "b", 1] = "a"
    flag: bool = False
    either: int | str | None = None
    inner: Inner = field(default_factory=Inner)
    table: dict[str, int] = field(default_factory=dict)
    items: tuple[Inner, ...] = ()


def test_decodes_every_kind_of_field() -> None:
    """Each annotation takes its own kind of JSON value."""
    given = {
        "id": "x",
        "ratio": 2,
        "kind": "b",
        "flag": True,
        "either": "s",
        "inner": {"size": 4, "names": ["n"]},
        "table": {"k": 1},
        "items": [{"size": 2}],
        "unknown": 1,
    }
    expected = Outer("x", 2.0, "b", True, "s", Inner(4, ("n",)), {"k": 1}, (Inner(2),))
    assert decode(Outer, given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": 1}, "id is 1, valid: text of length 1 to 4"),
        ({"id": "12345"}, "id is '12345', valid: text of length 1 to 4"),
        ({}, "id is missing, valid: text of length 1 to 4"),
        ({"id": "x", "ratio": True}, "ratio is True, valid: a number"),
        ({"id": "x", "ratio": float("inf")}, "ratio is inf, valid: a number"),
        ({"id": "x", "ratio": 10**400}, None),
        ({"id": "x", "kind": True}, "kind is True, valid: a, b, 1"),
        ({"id": "x", "flag": 1}, "flag is 1, valid: true or false"),
        ({"id": "x", "either": 1.5}, "either is 1.5, valid: an integer or text"),
        ({"id": "x", "inner": 3}, "inner is 3, valid: an object"),
        ({"id": "x", "inner": {"size": 0}}, "inner.size is 0, valid: an integer from 1 to 9"),
        ({"id": "x", "inner": {"names": "n"}}, "inner.names is 'n', valid: a list of text"),
        ({"id": "x", "inner": {"names": [1]}}, "inner.names[0] is 1, valid: text"),
        ({"id": "x", "table": {"k": "v"}}, "table.k is 'v', valid: an integer"),
        ({"id": "x", "table": []}, "table is [], valid: an object"),
        ([], "message is [], valid: an object"),
    ],
)
def test_refuses_what_does_not_fit_by_name(given: Any, message: str | None) -> None:
    """The error names field, value and what is valid."""
    with pytest.raises(WireError) as caught:
        decode(Outer, given)
    if message is not None:
        assert str(caught.value) == message


def test_strict_refuses_unknown_names() -> None:
    """Configuration does not ignore a misspelt key."""
    with pytest.raises(WireError, match="inner.sise is 1, valid: one of size, names"):
        decode(Outer, {"id": "x", "inner": {"sise": 1}}, strict=True)


def test_null_means_absent() -> None:
    """A client may send null for what it does not set."""
    assert decode(Outer, {"id": "x", "ratio": None}).ratio == 1.0


def test_patches_change_only_what_they_give() -> None:
    """A patch reaches into nested dataclasses and leaves the rest."""
    patch = decode_patch(Outer, {"inner": {"size": 5}})
    assert patched(Outer("x", inner=Inner(1, ("kept",))), patch).inner == Inner(5, ("kept",))
    assert merged(patch, {"inner": {"names": ("n",)}, "id": "y"}) == {
        "inner": {"size": 5, "names": ("n",)},
        "id": "y",
    }
    assert construct(Outer, {"id": "y", **patch}) == Outer("y", inner=Inner(5))


def test_encode_leaves_out_none_and_round_trips() -> None:
    """What is encoded decodes to the same."""
    outer = Outer("x", items=(Inner(2, ("n",)),), table={"k": 1})
    data = encode(outer)
    assert "either" not in data
    assert decode(Outer, data) == outer


def test_describes_types_in_words() -> None:
    """Long values are cut and unions are spelled out."""
    assert describe(Annotated[float, Range(0.5, 2)]) == "a number from 0.5 to 2"
    assert len(str(WireError("f", "x" * 500, "y"))) < 120
