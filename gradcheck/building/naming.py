"""Names in messages: the second and later uses of a name get `:N`; a function has its file and line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return `("a", "b", "a:2")` for `("a", "b", "a")`: a name that occurs once is unchanged."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return tuple(unique)


def place_of_function(function: Callable[..., Any]) -> str:
    """Return the name of a user's function in messages: `name (file.py:12)`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
    return name if code is None else f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"
