"""The points of a function that is swept, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import listed, plural

if TYPE_CHECKING:
    from gradcheck.results.point_counts import PointCounts


def at_points(points: PointCounts) -> str:
    """Return `right at 6 points, wrong at 3`."""
    counts = (
        (points.match, "right"),
        (points.mismatch, "wrong"),
        (points.same, "as wrong as another way"),
        (points.inconclusive, "undecided"),
        (points.convention, "by convention another value"),
    )
    return listed((f"{word} at {plural(count, 'point')}" for count, word in counts if count), "no point was tried")
