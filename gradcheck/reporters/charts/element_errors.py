"""The elements of a failing tensor: a histogram of their errors, and the two sides against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.parts.text import number

if TYPE_CHECKING:
    from gradcheck.results.tensor import Spread

WIDTH, HEIGHT = 320, 220
#: The edges of the plots: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 44, 14, 310, 176
_SMALLEST_BAR = 2.0


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar: its place, and what it counts."""

    x: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many elements are off by how much.

    Attributes:
        bins: from the smallest errors to the largest.
        ticks: the x and text of the ends of the axis.
        asides: the same of the bars beside it: equal elements, and those that are not finite.
        most: the count of the highest bar.
        label: all of it in words.
    """

    bins: tuple[Bin, ...]
    ticks: tuple[tuple[float, str], ...]
    asides: tuple[tuple[float, str], ...]
    most: int
    label: str


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """The candidate over the reference; `diagonal` is where the two are equal. Paths of an SVG."""

    points: str
    diagonal: str
    low: str
    high: str
    label: str


def histogram(spread: Spread) -> Histogram:
    """Return a bar for each bin, with those of equal elements before and of non-finite ones after them."""
    named = [(spread.equal, "good", "no difference")] if spread.equal else []
    edges = zip(spread.counts, spread.edges, spread.edges[1:], strict=False)
    named += [(count, "bad", f"|error| from {number(low)} to {number(high)}") for count, low, high in edges]
    named += [(spread.nonfinite, "bad", "not finite")] if spread.nonfinite else []
    most, step = max((count for count, *_ in named), default=0), (RIGHT - LEFT) / max(len(named), 1)
    bins = tuple(
        Bin(
            x=round(LEFT + place * step + 0.5, 1),
            width=round(max(step - 1, 1), 1),
            height=round(max((BOTTOM - TOP) * count / most, _SMALLEST_BAR), 1) if count else 0.0,
            tone=tone,
            title=f"{title}: {plural(count, 'element')}",
        )
        for place, (count, tone, title) in enumerate(named)
    )
    ticks = []
    if spread.counts:
        start = LEFT + bool(spread.equal) * step
        ticks = [
            (round(start, 1), number(spread.edges[0])),
            (round(start + len(spread.counts) * step, 1), number(spread.edges[-1])),
        ]
    off = sum(spread.counts) + spread.nonfinite
    label = f"Histogram of the errors: {plural(off, 'element')} differ, {spread.equal:,} do not"
    asides = [(LEFT, "equal")] if spread.equal else []
    asides += [(RIGHT - 50, "NaN or inf")] if spread.nonfinite else []
    return Histogram(bins=bins, ticks=tuple(ticks), asides=tuple(asides), most=most, label=label)


def scatter(spread: Spread) -> Scatter | None:
    """Return the sampled elements whose values are finite on both sides; None if there are none."""
    sampled = zip(spread.reference, spread.candidate, strict=True)
    pairs = [(r, c) for r, c in sampled if math.isfinite(r) and math.isfinite(c)]
    if not pairs:
        return None
    values = [value for pair in pairs for value in pair]
    low, high = min(values), max(values)
    size = max(abs(low), abs(high)) or 1.0
    bottom, room = low / size, (high / size - low / size) or 1.0  # high - low may overflow

    def at(value: float) -> float:
        return (value / size - bottom) / room

    def x(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * at(value), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * at(value), 1)

    return Scatter(
        points="".join(f"M{x(r)} {y(c)}h0" for r, c in pairs),
        diagonal=f"M{x(low)} {y(low)}L{x(high)} {y(high)}",
        low=number(low),
        high=number(high),
        label=f"{plural(len(pairs), 'element')}, from {number(low)} to {number(high)}; both are equal on the line",
    )
