"""The geometry of the two drawings in the HTML report: position and tone of each bar, box and arrow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.text import number, plural, shorten
from gradcheck.reporters.parts.training import label as named
from gradcheck.reporters.parts.words import status_tone, worst_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.report import CheckReport, RunReport, SegmentReport, TensorReport

STRIP_HEIGHT = 100
_LOWEST_BAR = 3  # an exact tensor still shows

BOX_WIDTH, BOX_HEIGHT, BOX_GAP = 136, 52, 92
_ARC_STEP = 18
_LABEL = 18  # characters of a name that fit a box


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One tensor: its relative error as a height from 0 to STRIP_HEIGHT."""

    x: int
    height: float
    tone: Tone
    title: str


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Relative errors on a logarithmic scale from 10^low to 10^high, and the tolerance of each tensor as a line."""

    bars: tuple[Bar, ...]
    tolerance: str  # points of a polyline
    low: int
    high: int
    label: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """One segment, with the tone of its worst weight."""

    x: int
    label: str
    detail: str
    title: str
    tone: Tone
    status: str


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """A link between two segments: a straight line to the next one, or an arc over those between."""

    path: str
    x: float
    y: float
    tone: Tone
    status: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The segments from left to right. `top` is the upper edge of the boxes, below the arcs."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    width: int
    height: int
    top: int
    label: str


def strip(check: CheckReport) -> Strip:
    """Return one bar for each tensor, in report order, ten units wide."""
    figures = [e for t in check.tensors for e in (t.max_rel_error, t.rtol) if math.isfinite(e) and e > 0]
    low = math.floor(math.log10(min(figures, default=1e-8)))
    high = max(0, low + 1, math.ceil(math.log10(max(figures, default=1.0))))

    def height(value: float) -> float:
        inside = min(max(math.log10(value), low), high) if value > 0 else low
        return round(STRIP_HEIGHT * (inside - low) / (high - low), 2)

    bars, line = [], []
    for place, tensor in enumerate(check.tensors):
        known = STRIP_HEIGHT if tensor.differs else 0.0  # without a figure: the full height, or none
        error = tensor.max_rel_error
        tall = known if math.isnan(error) else STRIP_HEIGHT if math.isinf(error) else height(error)
        title = f"{named(tensor)}: {status_label(tensor)}, max rel {number(error)}"
        bars.append(Bar(x=10 * place, height=max(tall, _LOWEST_BAR), tone=status_tone(tensor, check), title=title))
        limit = STRIP_HEIGHT - height(tensor.rtol)
        line.append(f"{10 * place},{limit} {10 * place + 10},{limit}")
    worst = worst_tensor(check.tensors)
    label = f"Largest relative error of each of {plural(len(bars), 'tensor')}, from 1e{low:+03d} to 1e{high:+03d}"
    if worst:
        label += f"; worst {named(worst)} {number(worst.max_rel_error)}"
    return Strip(bars=tuple(bars), tolerance=" ".join(line), low=low, high=high, label=label)


def chain(run: RunReport, check: CheckReport) -> Chain:
    """Return a box for each segment, and an arrow for each pair of segments that a boundary connects."""
    place = {segment.index: n for n, segment in enumerate(run.segments)}
    links = _links(run.segments)
    top = 20 + _ARC_STEP * max((place[b] - place[a] for a, b in links if place[b] - place[a] > 1), default=0)
    boxes = tuple(_box(segment, place[segment.index], check) for segment in run.segments)
    arrows = tuple(
        _arrow(place[a], place[b], top, _crossing(check, a, names), check) for (a, b), names in links.items()
    )
    wrong = ", ".join(box.label for box in boxes if box.tone == "bad")
    return Chain(
        boxes=boxes,
        arrows=arrows,
        width=len(boxes) * (BOX_WIDTH + BOX_GAP) - BOX_GAP + 4,
        height=top + BOX_HEIGHT + 4,
        top=top,
        label=f"{plural(len(boxes), 'segment')} in a chain; {'wrong: ' + wrong if wrong else 'none wrong'}",
    )


def _links(segments: Sequence[SegmentReport]) -> dict[tuple[int, int], set[str]]:
    """Return the names that cross from one segment to a later one, by the pair of segments.

    A segment whose inputs no earlier one makes is linked to the one before, so that the chain has no gap.
    """
    links: dict[tuple[int, int], set[str]] = {}
    for n, segment in enumerate(segments[1:], start=1):
        producers = {name: before.index for before in segments[:n] for name in before.outputs}
        known = [name for name in segment.inputs if name in producers]
        for name in known:
            links.setdefault((producers[name], segment.index), set()).add(name)
        if not known:
            links[segments[n - 1].index, segment.index] = set()
    return links


def _crossing(check: CheckReport, segment: int, names: set[str]) -> list[TensorReport]:
    """Return the boundaries that `segment` makes with these names; all that it makes if no name matches."""
    produced = [tensor for tensor in check.of_kind("boundary") if tensor.segment == segment]
    return [tensor for tensor in produced if {tensor.name, tensor.path, tensor.layer} & names] or produced


def _box(segment: SegmentReport, place: int, check: CheckReport) -> Box:
    weights = [t for t in check.of_kind("weight") if t.segment == segment.index or segment.index in (t.segments or ())]
    status, tone = _worst_status(weights, check)
    return Box(
        x=2 + place * (BOX_WIDTH + BOX_GAP),
        label=shorten(f"{segment.index}: {segment.name}", _LABEL),
        detail=plural(segment.parameters, "parameter"),
        title=f"{segment.name}: {', '.join(segment.layers)}",
        tone=tone,
        status=status,
    )


def _arrow(start: int, end: int, top: int, tensors: list[TensorReport], check: CheckReport) -> Arrow:
    status, tone = _worst_status(tensors, check)
    left, right = 2 + start * (BOX_WIDTH + BOX_GAP) + BOX_WIDTH, 2 + end * (BOX_WIDTH + BOX_GAP)
    middle, y = (left + right) / 2, top + BOX_HEIGHT / 2
    path = f"M{left} {y} H{right - 6}"
    if end - start > 1:  # a skip: from the top of one box to the top of the other
        left, right = left - BOX_WIDTH // 2, right + BOX_WIDTH // 2
        middle, y = (left + right) / 2, top - _ARC_STEP * (end - start) + 14
        path = f"M{left} {top} C{left} {y - 8} {right} {y - 8} {right} {top - 6}"
    title = "; ".join(f"{named(t)}: {status_label(t)}, max rel {number(t.max_rel_error)}" for t in tensors)
    return Arrow(path=path, x=middle, y=y - 6, tone=tone, status=status, title=title or "not compared")


def _worst_status(tensors: Iterable[TensorReport], check: CheckReport) -> tuple[str, Tone]:
    """Return the status and the tone that represent several tensors."""
    severity: tuple[Tone, ...] = ("bad", "neutral", "warn", "good", "unknown")
    ranked = sorted(((status_tone(t, check), t) for t in tensors), key=lambda pair: severity.index(pair[0]))
    if not ranked:
        return "", "unknown"
    tone, tensor = ranked[0]
    return ("close" if tone == "good" and any(t.status == "close" for _, t in ranked) else tensor.status), tone
