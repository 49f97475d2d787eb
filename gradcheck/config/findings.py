"""Mistakes in a config, each with the path of the key that it concerns. Loading adds the position in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

#: Keys and list indices from the top of the file to a value.
KeyPath: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mistake: `at` says whether the key at `path` is wrong, or its value.

    One that is not `certain` is a warning: what is named may exist, and only running the config would tell.
    """

    message: str
    path: KeyPath = ()
    at: Literal["key", "value"] = "value"
    code: str = "GC004"
    help: str | None = None
    certain: bool = True


def received(value: Any) -> str:
    """Return `value` in the words of YAML, short enough for one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, str):
        return f"`{value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + '...'}`"
    return repr(value)


MAX_SHOWN = 60
