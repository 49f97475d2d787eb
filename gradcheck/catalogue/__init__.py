"""The catalogue of codes: the only source of their titles and explanations.

The texts are in YAML files beside this module, one for each group of codes.
"""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, sections

__all__ = ["CATALOGUE", "SECTIONS", "Entry", "title"]

#: The entries by the title of their group, in the order of their codes.
SECTIONS: dict[str, tuple[Entry, ...]] = sections()

CATALOGUE: dict[str, Entry] = {entry.code: entry for entries in SECTIONS.values() for entry in entries}


def title(code: str) -> str:
    """Return the title of `code`.

    Raises:
        KeyError: if the catalogue does not have it.
    """
    return CATALOGUE[code].title
