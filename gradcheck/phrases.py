"""What messages of every folder say alike: names in a row, counts, and the name that was probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def listed(names: Iterable[str], otherwise: str = "none") -> str:
    """`a, b, c`, or `otherwise` for no names."""
    return ", ".join(names) or otherwise


def some(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence, those above `most` as a count: `a, b, and 3 more`."""
    return ", ".join(first(names, most))


def first(items: Sequence[str], most: int) -> list[str]:
    """The first `most` of `items`, then, as one more, how many are left out."""
    return [*items[:most], *and_more(len(items) - most)]


def and_more(count: int) -> list[str]:
    """`and 3 more`, as an item after those that are named; none for a count that is not positive."""
    return [f"and {count} more"] if count > 0 else []


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 boundary`, `2 boundaries`, with `many` where adding an s is not enough."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """The word of `known` that `word` most likely was meant to be, whatever its case; None if none is near."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """A help line that names the known word nearest to `word`; `otherwise` if none is near."""
    near = nearest(word, known)
    return otherwise if near is None else f"did you mean {near}?"


def suggestion(word: Any, known: Iterable[str], what: str, most: int | None = None) -> str:
    """What to do about an unknown `word`: the nearest known one, then all (or `most`) of them, introduced by `what`."""
    names = list(known)
    near = nearest(word, names)
    meant = f"did you mean `{near}`? " if near else ""
    return f"{meant}{what}: {listed(first(names, most or len(names)))}"
