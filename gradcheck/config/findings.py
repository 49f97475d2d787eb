"""What is wrong with a config, by the path of the key that it concerns. Loading adds the position in the text."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Keys and list indices from the top of the file to a value.
KeyPath: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mistake: `at` says whether the key at `path` is wrong, or the value that it has."""

    message: str
    path: KeyPath = ()
    at: Literal["key", "value"] = "value"
    code: str = "GC004"
    help: str | None = None


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """The word of `known` that `word` most likely was meant to be, whatever its case; None if none is near."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: Any, known: Iterable[str], what: str) -> str:
    """What to do about an unknown `word`: the nearest known one, then all of them, introduced by `what`."""
    names = list(known)
    near = nearest(word, names)
    meant = f"did you mean `{near}`? " if near else ""
    return f"{meant}{what}: {', '.join(names)}"


def received(value: Any) -> str:
    """`value` as a reader of YAML would call it, short enough for one line."""
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
