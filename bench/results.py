"""Reads results back and tells whether two may be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import InvalidParameter

# Of the environment, what moves a clock.
_MACHINE = ("cpu", "cores", "platform")


def read_result(path: Path) -> dict[str, Any]:
    """Return a result a bench wrote.

    Raises:
        InvalidParameter: If the file is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidParameter("result", str(path), f"a JSON file of bench ({error})") from error
    if not isinstance(data, dict) or "environment" not in data:
        raise InvalidParameter("result", str(path), "a JSON file of bench, with its environment")
    return data


def name_of(load: Mapping[str, Any]) -> str:
    """Return a level's load as text: clients=4."""
    return " ".join(
        f"{name}={value}" if isinstance(value, str) else f"{name}={value:g}"
        for name, value in load.items()
    )


def differences(
    a: Mapping[str, Any], b: Mapping[str, Any], *, across: Sequence[str] = ()
) -> list[str]:
    """Return why two results cannot be compared, one line each; empty: they can.

    Args:
        across: Names of fields that are meant to differ, such as `cpu`; levels never are.
    """
    found = []
    for name, first, second in _fields(a, b):
        if first != second and name not in across:
            found.append(f"{name}: {first!r} against {second!r}")
    loads = [[level["load"] for level in result.get("levels", [])] for result in (a, b)]
    if loads[0] != loads[1]:
        found.append(f"levels: {loads[0]} against {loads[1]}")
    return found


def _fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    fields = [("bench", a.get("bench"), b.get("bench"))]
    setups = a.get("setup", {}), b.get("setup", {})
    names = sorted(set(setups[0]) | set(setups[1]))
    fields += [(name, setups[0].get(name), setups[1].get(name)) for name in names]
    fields += [(name, a["environment"].get(name), b["environment"].get(name)) for name in _MACHINE]
    return fields
