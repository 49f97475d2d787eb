"""Names that are unique: the second and later uses of one get `:N`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """`("a", "b", "a")` to `("a", "b", "a:2")`: what occurs once stays as it is."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return tuple(unique)
