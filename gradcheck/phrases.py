"""Phrases that messages of every folder share: lists of names, counts, and suggestions for an unknown name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def listed(names: Iterable[str], otherwise: str = "none") -> str:
    """Return `a, b, c`, or `otherwise` if there are no names."""
    return ", ".join(names) or otherwise


def some(names: Sequence[str], most: int = 3) -> str:
    """Return at most `most` names and the number of the others: `a, b, and 3 more`."""
    return ", ".join(first(names, most))


def first(items: Sequence[str], most: int) -> list[str]:
    """Return the first `most` of `items`, then, as one more item, the number of the others."""
    return [*items[:most], *and_more(len(items) - most)]


def and_more(count: int) -> list[str]:
    """Return the item `and 3 more` in a list; an empty list if the count is not positive."""
    return [f"and {count} more"] if count > 0 else []


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 boundary`, `2 boundaries`. `many` is the plural if it needs more than an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was most likely meant to be, regardless of case; None if none is near.

    Of a path such as `blocks/0/gate` its last part alone may be meant too.
    """
    names = list(known)
    by_lower = {name.lower().rpartition("/")[2]: name for name in reversed(names)}
    by_lower |= {name.lower(): name for name in names}
    found = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return a help line with the known word nearest to `word`; `otherwise` if none is near."""
    near = nearest(word, known)
    return otherwise if near is None else f"did you mean `{near}`?"


def suggestion(word: Any, known: Iterable[str], what: str, most: int | None = None) -> str:
    """Return a help line for an unknown `word`: the nearest known one, then `what` and all (or `most`) known ones."""
    names = list(known)
    near = nearest(word, names)
    meant = f"did you mean `{near}`? " if near else ""
    return f"{meant}{what}: {listed(first(names, most or len(names)))}"


def os_reason(error: OSError) -> str:
    """Return why the system refused something, as the end of a sentence: `no such file or directory`."""
    return (error.strerror or type(error).__name__).lower()
