"""The record of how a function that is swept came out at its points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PointCounts:
    """Of a function that is swept: the number of points by the outcome of a check there.

    `same`: as wrong as the first check of its order. `convention`: meant to differ from the slopes.
    """

    match: int = 0
    mismatch: int = 0
    same: int = 0
    inconclusive: int = 0
    convention: int = 0

    @property
    def all(self) -> int:
        """The number of points."""
        return self.match + self.mismatch + self.same + self.inconclusive + self.convention
