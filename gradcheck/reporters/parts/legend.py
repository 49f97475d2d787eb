"""What the columns and figures of a report mean: a line for each that the report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gradcheck.reporters.parts.page import Page
    from gradcheck.results.report import TensorReport

#: The meaning of each term, in the order of the legend. docs/report.md says more.
TERMS = {
    "step": "which training step, and its gradient or the value after it",
    "close, rounding": "within 4 noise floors, or zero but for rounding: its max rel says nothing",
    "max abs": "largest difference",
    "max rel": "largest difference / largest value of the {reference}",
    "ULP": "largest difference in units in the last place (1: the next number)",
    "cosine": "of the angle between both sides; 1 is the same direction",
    "noise floor": "how far rounding moves the {reference} (4 times that is close)",
    "needs rtol": "smallest rtol that alone would pass the tensor",
    "needs": "smallest rtol, or smallest atol, that alone would pass the tensor",
    "given": "allowed is atol + rtol * |{reference}|, for each element",
    "given rtol 0": "of a value after a step; its atol is a share of the movement",
    "lines": "of the script: where the gradient was asked for, and applied",
    "places": "where a fault was injected: at how many, caught at, and named at",
    "smallest margin": "of what was caught: the smallest (difference / allowed)",
    "error by layer": "first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10 times more, █ above 0.1, "
    "! no gradient or not finite, · proves nothing",
}


def terms_of_failures(tensors: Iterable[TensorReport]) -> set[str]:
    """Return the terms of the lines below failing rows."""
    found = set[str]()
    for tensor in tensors:
        found.update(("needs", "given", *(("lines",) if tensor.lines else ())))
        if tensor.step and tensor.rtol == 0 < tensor.atol:
            found.add("given rtol 0")
    return found


def add_legend(page: Page, shown: Collection[str], reference: str = "reference") -> None:
    """Add a line for each term that is `shown`. `reference` is what that side is called."""
    for term, meaning in TERMS.items():
        if term in shown and not (term == "needs rtol" and "needs" in shown):
            page.paragraph((f"{term}: {meaning.format(reference=reference)}", "dim"), indent=2)
