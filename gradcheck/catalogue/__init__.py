"""Every code with its title and what to know about it: reporters, errors and diagnosis name codes from here alone."""

from __future__ import annotations

from gradcheck.catalogue import accumulation, boundary, custom, losses, results, running, state, tensors, usage
from gradcheck.catalogue.entry import Entry

__all__ = ["CATALOGUE", "SECTIONS", "Entry", "title"]

#: The entries by what they are about, in the order of their codes.
SECTIONS: dict[str, tuple[Entry, ...]] = {
    "The command line and the config (exit 2)": usage.ENTRIES,
    "While running (exit 3)": running.ENTRIES,
    "At a boundary": boundary.ENTRIES,
    "Micro-batches": accumulation.ENTRIES,
    "State, randomness, time and training": state.ENTRIES,
    "Gradients and their variables": tensors.ENTRIES,
    "Losses": losses.ENTRIES,
    "Custom gradients, recomputation, compilation": custom.ENTRIES,
    "What a result proves": results.VACUITY,
    "Finite differences": results.DIFFERENCES,
    "Unexplained": results.UNEXPLAINED,
}

CATALOGUE: dict[str, Entry] = {entry.code: entry for entries in SECTIONS.values() for entry in entries}


def title(code: str) -> str:
    """The title of `code`. Raises KeyError for a code that is not in the catalogue."""
    return CATALOGUE[code].title
