"""Records to plain JSON types, and back."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any


def plain_of(value: Any) -> Any:
    """`value` in plain JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain_of(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def record_from(cls: type, data: dict[str, Any]) -> Any:
    """The dataclass `cls` from plain types; a key that is left out takes the field's default."""
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    try:
        return cls(**{key: _typed(hints[key], value) for key, value in data.items() if key in known})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a gradcheck report: {cls.__name__}: {error}") from error


def _typed(hint: Any, value: Any) -> Any:
    """`value` as the field type `hint` wants it: tuples, nested records, and NaN for a null number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _typed(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        return tuple(_typed(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return record_from(hint, value)
    if hint is float:
        return math.nan if value is None else float(value)
    return value
