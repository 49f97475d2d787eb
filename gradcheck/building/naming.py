"""Unique names: the second and later uses of a name get `:N`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return `("a", "b", "a:2")` for `("a", "b", "a")`: a name that occurs once is unchanged."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return tuple(unique)
