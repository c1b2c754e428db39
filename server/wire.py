"""Dataclasses as JSON, strictly: decode with typed errors, encode.

A field's annotation is the whole rule: `str`, `bool`, `int`, `float`, `Literal[...]`, `X | None`,
`tuple[X, ...]`, `dict[str, X]`, another dataclass, and `Annotated[X, Range(...)]` or
`Annotated[str, Length(...)]` for limits. The same annotations serve messages and configuration.

A *patch* is the validated part of a dataclass that was given: a dict by field name, nested for
nested dataclasses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")
Patch: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive limits of a number."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True, slots=True)
class Length:
    """Inclusive limits of the length of a text or list."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"of length {self.low} to {self.high}"


class WireError(ValueError):
    """A value that does not fit its field.

    Attributes:
        path: Dotted name of the field.
        valid: What would have been valid.
    """

    def __init__(self, path: str, value: object, valid: str) -> None:
        super().__init__(f"{path} is {_shown(value)}, valid: {valid}")
        self.path = path
        self.valid = valid


def _shown(value: object) -> str:
    text = "missing" if value is MISSING else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def field_types(cls: type) -> Mapping[str, Any]:
    """Return the resolved annotations of a dataclass's fields, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in fields(cls)}


def decode(cls: type[T], data: object, path: str = "", *, strict: bool = False) -> T:
    """Build a dataclass from parsed JSON.

    Args:
        strict: Refuse unknown names instead of ignoring them.

    Raises:
        WireError: On a missing field, or a value of the wrong type or out of range.
    """
    return construct(cls, decode_patch(cls, data, path, strict=strict), path)


def construct(cls: type[T], patch: Patch, path: str = "") -> T:
    """Build a dataclass from a patch, its defaults filling what is not given.

    Raises:
        WireError: On a field that has no default and is not given.
    """
    types = field_types(cls)  # type: ignore[arg-type]
    values: Patch = {}
    for f in fields(cls):  # type: ignore[arg-type]
        nested = _nested(types[f.name])
        if f.name in patch:
            given = patch[f.name]
            values[f.name] = construct(nested, given, _join(path, f.name)) if nested else given
        elif f.default is MISSING and f.default_factory is MISSING:
            raise WireError(_join(path, f.name), MISSING, describe(types[f.name]))
    return cls(**values)


def decode_patch(cls: type, data: object, path: str = "", *, strict: bool = False) -> Patch:
    """Return the validated fields of `cls` that `data` gives; null means not given.

    Raises:
        WireError: As `decode`, but nothing is required.
    """
    if not isinstance(data, Mapping):
        raise WireError(path or "message", data, "an object")
    types = field_types(cls)
    if strict:
        for name in data:
            if name not in types:
                raise WireError(_join(path, str(name)), data[name], f"one of {', '.join(types)}")
    patch: Patch = {}
    for name, annotation in types.items():
        value = data.get(name)
        if value is None:
            continue
        where = _join(path, name)
        nested = _nested(annotation)
        if nested is not None:
            patch[name] = decode_patch(nested, value, where, strict=strict)
        else:
            patch[name] = _value(annotation, value, where)
    return patch


def patched(original: T, patch: Patch) -> T:
    """Return `original` with the fields of `patch` replaced, field by field in nested ones."""
    changes: Patch = {}
    for name, value in patch.items():
        current = getattr(original, name)
        is_nested = is_dataclass(current) and isinstance(value, dict)
        changes[name] = patched(current, value) if is_nested else value
    return replace(original, **changes)  # type: ignore[type-var]


def merged(first: Patch, second: Patch) -> Patch:
    """Return the patch that is `first`, then `second`."""
    result = dict(first)
    for name, value in second.items():
        before = result.get(name)
        both = isinstance(before, dict) and isinstance(value, dict)
        result[name] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def encode(value: Any) -> Any:
    """Return dataclasses as plain JSON values; fields that are None are left out."""
    if is_dataclass(value):
        items = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: encode(item) for name, item in items if item is not None}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _nested(annotation: Any) -> type[Any] | None:
    """Return the dataclass an annotation holds, also as `X | None`; else None."""
    for part in _options(annotation):
        if is_dataclass(part):
            return part  # type: ignore[return-value]
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for part in get_args(annotation) if part is not NoneType)
    return (annotation,)


def _value(annotation: Any, value: object, path: str) -> Any:
    """Check `value` against an annotation and return it in the field's own type."""
    for option in _options(annotation):
        converter = _converter(option)
        result = converter(option, value, path)
        if result is not MISSING:
            return result
    raise WireError(path, value, describe(annotation))


def _converter(annotation: Any) -> Callable[[Any, object, str], Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _limited
    if origin is Literal:
        return _literal
    if origin is tuple:
        return _sequence
    if origin is dict:
        return _mapping
    return _plain


def _plain(annotation: Any, value: object, path: str) -> Any:
    if is_dataclass(annotation):
        return decode(annotation, value, path)  # type: ignore[arg-type]
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        # An integer beyond the doubles would raise OverflowError in float().
        return float(value) if abs(value) < 2**1000 else MISSING
    if type(value) is not annotation:
        return MISSING
    if isinstance(value, float) and not math.isfinite(value):
        return MISSING
    return value


def _limited(annotation: Any, value: object, path: str) -> Any:
    base, *limits = get_args(annotation)
    result = _converter(base)(base, value, path)
    for limit in limits:
        if result is MISSING:
            break
        size = result if isinstance(limit, Range) else len(result)
        if not limit.low <= size <= limit.high:
            raise WireError(path, value, describe(annotation))
    return result


def _literal(annotation: Any, value: object, path: str) -> Any:
    # `in` alone would take True for 1.
    matches = (arg for arg in get_args(annotation) if type(arg) is type(value) and arg == value)
    return next(matches, MISSING)


def _sequence(annotation: Any, value: object, path: str) -> Any:
    if not isinstance(value, list | tuple):
        return MISSING
    item = get_args(annotation)[0]
    return tuple(_value(item, part, f"{path}[{i}]") for i, part in enumerate(value))


def _mapping(annotation: Any, value: object, path: str) -> Any:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return MISSING
    item = get_args(annotation)[1]
    return {key: _value(item, part, f"{path}.{key}") for key, part in value.items()}


_NAMES = {str: "text", bool: "true or false", int: "an integer", float: "a number"}


def describe(annotation: Any) -> str:
    """Return what an annotation admits, in words."""
    options = _options(annotation)
    if len(options) > 1:
        return " or ".join(map(describe, options))
    option = options[0]
    origin = get_origin(option)
    if origin is Annotated:
        base, *limits = get_args(option)
        return " ".join([describe(base), *map(str, limits)])
    if origin is Literal:
        return ", ".join(map(str, get_args(option)))
    if origin is tuple:
        return f"a list of {describe(get_args(option)[0])}"
    return _NAMES.get(option, "an object")
