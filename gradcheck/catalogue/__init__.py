"""Every code with its title and what to know about it: reporters, errors and diagnosis name codes from here alone.

The texts lie beside this file, one file for each group of codes.
"""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, sections

__all__ = ["CATALOGUE", "SECTIONS", "Entry", "title"]

#: The entries by what they are about, in the order of their codes.
SECTIONS: dict[str, tuple[Entry, ...]] = sections()

CATALOGUE: dict[str, Entry] = {entry.code: entry for entries in SECTIONS.values() for entry in entries}


def title(code: str) -> str:
    """The title of `code`. Raises KeyError for a code that is not in the catalogue."""
    return CATALOGUE[code].title
