"""Conversion of records to plain JSON types and JSON text, and back."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any, TypeVar

_Record = TypeVar("_Record")


def plain_of(value: Any) -> Any:
    """Return `value` in plain JSON types; a number that is not finite becomes None."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain_of(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain_of(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(plain: Any, indent: int | None = 2) -> str:
    """Return plain types as JSON text.

    Characters that do not print are escaped: controls and overrides of direction, which a terminal would obey, and lone
    surrogates, of a file name that is no UTF-8.
    """
    text = json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def record_from(cls: type[_Record], data: Any) -> _Record:
    """Build the dataclass `cls` from plain types. A missing key takes the field's default, an unknown key is ignored.

    Raises:
        ValueError: if `data` is not such a record.
    """
    try:
        given = _expected(dict, data)
        hints = _hints(cls)  # type: ignore[arg-type] # a class is hashable
        return cls(**{key: _typed(hint, given[key]) for key, hint in hints.items() if key in given})
    except TypeError as error:
        raise ValueError(f"not a gradcheck report: {cls.__name__}: {error}") from error


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(hint: Any, value: Any) -> Any:
    """Convert `value` to the type of its field: a tuple, a nested record, or NaN for a number that is null."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _typed(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        return tuple(_typed(arguments[0], item) for item in _expected(list, value))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return record_from(hint, value)
    if isinstance(hint, type) and issubclass(hint, tuple):  # a named one
        return hint(*_expected(list, value))
    if hint is float:
        return math.nan if value is None else float(_expected(int | float, value))
    return value if origin is not None else _expected(hint, value)


def _expected(kind: Any, value: Any) -> Any:
    """Return `value` if it is of this kind, otherwise raise TypeError."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {getattr(kind, '__name__', kind)}. Received: {type(value).__name__}")
    return value
