"""What every part of the config shares: strict, frozen models, and values that YAML spells in more than one way."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


#: `package.module:Name` or `./file.py:Name`, the file relative to the config.
Reference = Annotated[str, StringConstraints(pattern=r"^[^:\s][^:]*:[A-Za-z_][\w.]*$")]

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def parse_bytes(value: Any) -> Any:
    """`"2GiB"` to 2147483648; what is no size in words is returned as it is, for the type check to judge.

    Raises:
        ValueError: for a text that is no size.
    """
    if not isinstance(value, str) or value == "auto":
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError("expected a number of bytes, a size such as 2GiB, or auto")
    return int(float(found[1]) * _UNITS[found[2].lower()])


ByteSize = Annotated[int, BeforeValidator(parse_bytes)]


def single_key(value: Any) -> tuple[str, Any] | None:
    """The key and value of a mapping with exactly one text key, else None."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if isinstance(key, str):
            return key, inner
    return None
