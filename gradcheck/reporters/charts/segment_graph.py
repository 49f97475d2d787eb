"""The cut model as a graph from top to bottom: segments, the boundaries between them, skip connections at the side.

A model of many segments is drawn in at most `MOST` boxes: those near the mistake one by one, the others in groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from gradcheck.phrases import and_more, plural
from gradcheck.reporters.charts.by_layer import severity
from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.selection import layers_in_brief
from gradcheck.reporters.parts.text import inline, number, shorten
from gradcheck.reporters.parts.training import label as named
from gradcheck.reporters.parts.words import status_tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.report import CheckReport, Diagnosis, RunReport, SegmentReport, TensorReport

MOST = 12
BOX_X, BOX_WIDTH, BOX_HEIGHT, GAP = 2, 230, 58, 36
_LANE, _LANES = 14, 8
_MILLION = 1_000_000
_NAME, _DETAIL, _MARK, _LINK = 29, 34, 28, 32  # characters that fit
_CODE = re.compile(r"GC\d{3}")
_BOUNDARY = re.compile(r"boundary ([\d, ]+) → (\d+)")  # how a diagnosis writes its place


@dataclass(frozen=True, kw_only=True)
class Box:
    """One segment, or several in a row, with the tone of the worst weight. `mark` says what firsts here."""

    y: int
    label: str
    detail: str
    title: str
    tone: Tone
    status: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """What crosses from one box to a later one, straight or beside those between. `x`, `y` are those of its words."""

    path: str
    x: float
    y: float
    tone: Tone
    words: str
    title: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class SegmentGraph:
    """The boxes and arrows, and the tone and words of each single segment if not all have a box of their own."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    cells: tuple[tuple[Tone, str], ...]
    width: int
    height: int
    label: str


class _Marks(NamedTuple):
    """Words to put at segments and at boundaries."""

    segments: dict[int, str]
    boundaries: dict[tuple[int, int], str]

    @property
    def places(self) -> set[int]:
        """The segments that something is said of."""
        return {*self.segments, *(index for pair in self.boundaries for index in pair)}


def segment_graph(run: RunReport, check: CheckReport) -> SegmentGraph:
    """Return the graph of the segments of `run`, with what `check` found in them."""
    links = links_of(run.segments)
    tensors = {segment.index: _weights(segment, check) for segment in run.segments}
    marks = _marks(check, links)
    groups = _groups(run.segments, {i: _worst(found, check)[1] for i, found in tensors.items()}, marks.places)
    box_of = {segment.index: n for n, group in enumerate(groups) for segment in group}
    boxes = tuple(_box(n, group, tensors, marks, check) for n, group in enumerate(groups))
    arrows = _arrows(links, box_of, marks, check)
    wrong = [segment.name for segment in run.segments if _worst(tensors[segment.index], check)[1] == "bad"]
    many = len(boxes) < len(run.segments)
    lanes = max((int(arrow.x) + 8 for arrow in arrows), default=0)
    return SegmentGraph(
        boxes=boxes,
        arrows=arrows,
        cells=tuple(_cell(segment, tensors[segment.index], check) for segment in run.segments) if many else (),
        width=max(BOX_X + BOX_WIDTH + 4, lanes),
        height=len(boxes) * (BOX_HEIGHT + GAP) - GAP + 4,
        label=f"{plural(len(run.segments), 'segment')} from input to loss; "
        + (f"{len(wrong)} wrong: {inline(', '.join(wrong[:5]))}" if wrong else "none wrong"),
    )


def links_of(segments: Sequence[SegmentReport]) -> dict[tuple[int, int], set[str]]:
    """Return the names that cross from one segment to a later one, by the pair of segments.

    A segment whose inputs no earlier one makes is linked to the one before, so that the graph has no gap.
    """
    links: dict[tuple[int, int], set[str]] = {}
    producers: dict[str, int] = {}
    for before, segment in zip([None, *segments[:-1]], segments, strict=True):
        known = [name for name in segment.inputs if name in producers]
        for name in known:
            links.setdefault((producers[name], segment.index), set()).add(name)
        if before is not None and not known:
            links[before.index, segment.index] = set()
        producers |= dict.fromkeys(segment.outputs, segment.index)
    return links


def first_wrong(check: CheckReport) -> TensorReport | None:
    """Return the first wrong tensor in the order of the backward pass."""
    step = check.first_failing_step
    found = (t for t in check.tensors if t.path == check.first_divergence and t.failed and t.step == step)
    return next(found, None)


def _marks(check: CheckReport, links: dict[tuple[int, int], set[str]]) -> _Marks:
    """Return where the first wrong tensor is, and where the diagnoses see the mistake."""
    marks = _Marks({}, {})
    tensor = first_wrong(check)
    if tensor is not None and tensor.segment is not None:
        where = [pair for pair, names in links.items() if pair[0] == tensor.segment and _crosses(tensor, names)]
        if tensor.kind == "boundary" and where:
            marks.boundaries[where[0]] = "first wrong"
        else:
            marks.segments[tensor.segment] = f"first wrong: {shorten(inline(tensor.name or tensor.path), _MARK - 13)}"
    for diagnosis in check.diagnoses:
        _mark_diagnosis(marks, diagnosis, links)
    return marks


def _mark_diagnosis(marks: _Marks, diagnosis: Diagnosis, links: dict[tuple[int, int], set[str]]) -> None:
    found = _BOUNDARY.search(diagnosis.place or "")
    pairs = [(int(start), int(found[2])) for start in found[1].split(",")] if found else []
    for pair in links.keys() & pairs:
        marks.boundaries[pair] = _with_code(marks.boundaries.get(pair), diagnosis.code)
    if not links.keys() & pairs and diagnosis.segment is not None:
        marks.segments[diagnosis.segment] = _with_code(marks.segments.get(diagnosis.segment), diagnosis.code)


def _with_code(before: str | None, code: str) -> str:
    """Return the marks of one place, each code once: the codes in the order of the report, then what is first wrong."""
    marks = before.split(", ") if before else []
    codes = [mark for mark in marks if _CODE.fullmatch(mark)]
    return ", ".join([*dict.fromkeys([*codes, code]), *(mark for mark in marks if mark not in codes)])


def _groups(
    segments: Sequence[SegmentReport], tones: dict[int, Tone], marked: set[int]
) -> list[tuple[SegmentReport, ...]]:
    """Return the segments of each box: consecutive ones of one tone, apart from the ends and what is marked."""
    if len(segments) <= MOST:
        return [(segment,) for segment in segments]
    alone = {segments[0].index, segments[-1].index, *sorted(marked)[: MOST // 3]}
    keys = (lambda s: (s.index in alone and s.index, tones[s.index] == "bad"), lambda s: s.index in alone and s.index)
    for key in keys:
        groups = [tuple(group) for _, group in groupby(segments, key)]
        if len(groups) <= MOST:
            break
    return groups


def _weights(segment: SegmentReport, check: CheckReport) -> list[TensorReport]:
    found = check.of_kind("weight")
    return [t for t in found if t.segment == segment.index or segment.index in (t.segments or ())]


def _box(
    place: int,
    group: tuple[SegmentReport, ...],
    tensors: dict[int, list[TensorReport]],
    marks: _Marks,
    check: CheckReport,
) -> Box:
    first, last = group[0], group[-1]
    status, tone = _worst([t for segment in group for t in tensors[segment.index]], check)
    said = [marks.segments[segment.index] for segment in group if segment.index in marks.segments]
    layers, parameters = layers_in_brief(first), _parameters(sum(segment.parameters for segment in group))
    if len(group) > 1:
        label, what = f"{first.index} to {last.index}", f"{len(group)} segments"
    elif first.name == f"segment_{first.index}":  # a name of ours says less than those of its layers
        label, what = f"{first.index}: {layers}", inline(first.name)
    else:
        label, what = f"{first.index}: {inline(first.name)}", layers
    every = inline(", ".join(dict.fromkeys((first.name, last.name))))
    return Box(
        y=2 + place * (BOX_HEIGHT + GAP),
        label=shorten(label, _NAME),
        detail=f"{shorten(what, _DETAIL - len(parameters) - 2)}; {parameters}",
        title=f"{every}: {inline(', '.join(first.layers))}" if len(group) == 1 else every,
        tone=tone,
        status=status or _without(group),
        mark=_fitted(said),
    )


def _fitted(said: Sequence[str]) -> str:
    """Return the marks of a box as far as they fit, codes whole: of what is first wrong its card says the name."""
    marks = list(dict.fromkeys(", ".join(said).split(", "))) if said else []
    codes = sorted(marks, key=lambda mark: not _CODE.fullmatch(mark))  # of several segments: codes first
    ends = (", ".join([*codes[:most], *and_more(len(codes) - most)]) for most in range(len(codes), 0, -1))
    return next((text for text in ends if len(text) <= _MARK), shorten(codes[0], _MARK) if codes else "")


def _parameters(count: int) -> str:
    """Return `1,024 parameters`, or `23.6M parameters` of millions."""
    return plural(count, "parameter") if count < _MILLION else f"{count / _MILLION:.3g}M parameters"


def _arrows(
    links: dict[tuple[int, int], set[str]], box_of: dict[int, int], marks: _Marks, check: CheckReport
) -> tuple[Arrow, ...]:
    """Return an arrow for each pair of boxes that something crosses between."""
    between: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for start, end in links:
        if box_of[start] != box_of[end]:
            between.setdefault((box_of[start], box_of[end]), []).append((start, end))
    taken: list[int] = []  # the box at which each lane becomes free
    arrows = []
    for (start, end), pairs in sorted(between.items()):
        lane = -1
        if end - start > 1:
            lane = next((n for n, free in enumerate(taken) if free <= start), len(taken))
            taken[lane : lane + 1] = [end]
        crossing = _Crossing(links, pairs, marks, check)
        arrows.append(_beside(start, end, lane, crossing) if lane >= 0 else _straight(start, crossing))
    return tuple(arrows)


class _Crossing:
    """What crosses between two boxes: the names of all tensors, and what `check` found of them."""

    def __init__(
        self, links: dict[tuple[int, int], set[str]], pairs: list[tuple[int, int]], marks: _Marks, check: CheckReport
    ) -> None:
        tensors = {id(t): t for pair in pairs for t in _crossing(check, pair[0], links[pair])}.values()
        figures = "; ".join(f"{named(t)}: {status_label(t)}, max rel {number(t.max_rel_error)}" for t in tensors)
        self.names = sorted({inline(name) for pair in pairs for name in links[pair]})
        self.mark = ", ".join(marks.boundaries[pair] for pair in pairs if pair in marks.boundaries)
        self.title = figures or ": ".join([*filter(None, [", ".join(self.names)]), "not compared"])
        self.status, tone = _worst(tensors, check)
        # Where the mistake is, the arrow is wrong even if the method hands over no boundary to compare.
        self.tone: Tone = "bad" if self.mark else tone


def _straight(start: int, crossing: _Crossing) -> Arrow:
    """Return the arrow to the next box, with its words beside it."""
    x, top = BOX_X + 24, 2 + start * (BOX_HEIGHT + GAP) + BOX_HEIGHT
    name = crossing.names[0] if len(crossing.names) == 1 else f"{len(crossing.names)} tensors" if crossing.names else ""
    name = shorten(name, _LINK - len(crossing.mark or crossing.status) - 2)
    return Arrow(
        path=f"M{x} {top}V{top + GAP - 6}",
        x=x + 10,
        y=top + GAP / 2 + 4,
        tone=crossing.tone,
        words=", ".join(filter(None, (name, "" if crossing.mark else crossing.status))),
        title=crossing.title,
        mark=crossing.mark,
    )


def _beside(start: int, end: int, lane: int, crossing: _Crossing) -> Arrow:
    """Return the arrow that passes other boxes, in a lane to the right of them."""
    right, x = BOX_X + BOX_WIDTH, BOX_X + BOX_WIDTH + _LANE * (min(lane, _LANES - 1) + 1)
    top, bottom = 2 + start * (BOX_HEIGHT + GAP) + BOX_HEIGHT - 14, 2 + end * (BOX_HEIGHT + GAP) + 14
    return Arrow(
        path=f"M{right} {top}H{x - 6}Q{x} {top} {x} {top + 6}V{bottom - 6}Q{x} {bottom} {x - 6} {bottom}H{right + 6}",
        x=x,
        y=(top + bottom) / 2,
        tone=crossing.tone,
        words="",
        title=crossing.title,
        mark=crossing.mark,
    )


def _crossing(check: CheckReport, segment: int, names: set[str]) -> list[TensorReport]:
    """Return the boundaries that `segment` makes with these names; all that it makes if no name matches."""
    produced = [tensor for tensor in check.of_kind("boundary") if tensor.segment == segment]
    return [tensor for tensor in produced if _crosses(tensor, names)] or produced


def _crosses(tensor: TensorReport, names: set[str]) -> bool:
    return bool({tensor.name, tensor.path, tensor.layer} & names)


def _cell(segment: SegmentReport, tensors: list[TensorReport], check: CheckReport) -> tuple[Tone, str]:
    status, tone = _worst([*tensors, *(t for t in check.of_kind("boundary") if t.segment == segment.index)], check)
    return tone, f"{segment.index}: {inline(segment.name)}: {status or _without([segment])}"


def _without(group: Sequence[SegmentReport]) -> str:
    """Say why there is no status."""
    return "not compared" if any(segment.parameters for segment in group) else "no weights"


def _worst(tensors: Iterable[TensorReport], check: CheckReport) -> tuple[str, Tone]:
    """Return the status and the tone that represent several tensors."""
    ranked = sorted(((status_tone(t, check), t) for t in tensors), key=lambda pair: severity(pair[0]))
    if not ranked:
        return "", "unknown"
    tone, tensor = ranked[0]
    return ("close" if tone == "good" and any(t.status == "close" for _, t in ranked) else tensor.status), tone
