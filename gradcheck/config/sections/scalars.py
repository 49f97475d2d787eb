"""Types of single values. They are strict: `batch_size: true` and `seed: "0"` are mistakes, not 1 and 0."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic import ValidatorFunctionWrapHandler as Handler

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import refusal


def expecting(expected: str) -> WrapValidator:
    """Return a validator that replaces the errors of a union, one for each type, by a single one in these words."""

    def validate(raw: Any, handler: Handler) -> Any:
        try:
            return handler(raw)
        except ValidationError:
            raise refusal(Finding(message=f"expected {expected}. Received: {received(raw)}")) from None

    return WrapValidator(validate)


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = r"^\s*(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)\s*$"


def parse_bytes(value: Any) -> Any:
    """Convert `"2GiB"` to 2147483648; return any other value unchanged, for the type check to reject."""
    found = re.match(_SIZE, value) if isinstance(value, str) else None
    if found is None or found[2].lower() not in _UNITS:
        return value
    return int(float(found[1]) * _UNITS[found[2].lower()])


Flag: TypeAlias = StrictBool
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Tolerance: TypeAlias = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
ToleranceOrAuto: TypeAlias = Annotated[
    Tolerance | Literal["auto"] | None, expecting("a number of at least 0, or `auto`")
]
#: `auto` and null mean the same: None.
ToleranceOrNone: TypeAlias = Annotated[
    Tolerance | None,
    BeforeValidator(lambda raw: None if raw == "auto" else raw),
    expecting("a number of at least 0, or `auto`"),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"enum": ["auto", None]}]}),
]
NameOrIndex: TypeAlias = Annotated[
    Annotated[str, Field(strict=True, min_length=1)] | Annotated[int, Field(strict=True)],
    expecting("the name of a layer or operation, or the index of a call"),
]

#: A list of names, or a single name.
Names: TypeAlias = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda raw: [raw] if isinstance(raw, str) else raw),
    WithJsonSchema({"type": ["string", "array"], "minLength": 1, "items": {"type": "string", "minLength": 1}}),
]

#: `package.module:Name` or `./file.py:Name`, the file relative to the config.
REFERENCE = r"^[^:\s][^:]*:[A-Za-z_][A-Za-z_0-9.]*$"
Reference: TypeAlias = Annotated[str, StringConstraints(pattern=REFERENCE)]

ByteSize: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, strict=True)] | Literal["auto"],
    BeforeValidator(parse_bytes),
    expecting("a number of bytes, a size such as 2GiB, or `auto`"),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": _SIZE}, {"const": "auto"}]}
    ),
]
