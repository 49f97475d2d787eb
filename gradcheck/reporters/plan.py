"""The plan of a config as text: segments, the tensors that cross between them, and the memory of each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import listed, plural
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, named, size

if TYPE_CHECKING:
    from gradcheck.results.plan import BoundaryReport, PlannedSegment, PlanReport

#: The words for each entry of the memory estimate.
_MEMORY_WORDS = {
    "weights": "variables",
    "tape": "tape (reference)",
    "jacobian": "jacobian, streamed",
    "jacobian_full": "jacobian, if kept whole",
}


def render_plan(plan: PlanReport, *, width: int | None, color: bool) -> str:
    """Render the plan as text without a final line break.

    Args:
        plan: the plan.
        width: columns to wrap text at; None wraps nothing.
        color: whether ANSI colours may be used.
    """
    page = Page(width, color=color)
    page.heading(f"{inline(plan.name)} ({inline(plan.config)})", "bold", indent=0)
    for warning in plan.warnings:
        page.block(("warning", "yellow"), warning, indent=2)
    for note in plan.notes:
        page.block("note", note, indent=2)
    if plan.segments:
        for segment in plan.segments:
            _segment(page, segment)
        _memory(page, plan)
        _placement(page, plan)
    else:
        _names(page, plan)
    return page.text()


def _segment(page: Page, segment: PlannedSegment) -> None:
    page.line()
    calls = plural(len(segment.layers), "call")
    title = f"segment {segment.index} {inline(segment.name)}: {calls}, {plural(segment.parameters, 'parameter')}, "
    page.paragraph((title, "bold"), f"{segment.flops:.3g} FLOPs forward", indent=2)
    page.block("calls", named(segment.layers), indent=4)
    for tensor in segment.inputs:
        page.paragraph(_tensor("takes  ", tensor), indent=4)
    for tensor in segment.outputs:
        page.paragraph(_tensor("returns", tensor), indent=4)


def _tensor(verb: str, tensor: BoundaryReport) -> str:
    axes = ",".join("?" if axis is None else str(axis) for axis in tensor.shape)
    return f"{verb} {inline(tensor.name)} ({axes}) {tensor.dtype}, {size(tensor.bytes)}"


def _memory(page: Page, plan: PlanReport) -> None:
    page.line()
    page.heading(f"memory, estimated for a batch of {plan.batch_size}", "bold", indent=2)
    wide = max(map(len, _MEMORY_WORDS.values()))
    for key, held in plan.memory.items():
        page.line(f"{_MEMORY_WORDS.get(key, key):<{wide}}  {size(held)}", indent=4)


def _placement(page: Page, plan: PlanReport) -> None:
    if plan.crossing is None:
        return
    page.line()
    page.heading(f"placement, estimated for a batch of {plan.batch_size}", "bold", indent=2)
    for device in plan.devices:
        where = f" at {inline(device.address)}" if device.address else ""
        held = f"weights {size(device.weights)}, with vjp {size(device.memory)}"
        segments = f"{'segment' if len(device.segments) == 1 else 'segments'} {listed(map(str, device.segments))}"
        page.paragraph(f"{inline(device.device)}{where}: {segments}: {held}", indent=4)
    crossing = plan.crossing
    page.paragraph(
        f"a step sends boundaries {size(crossing.boundaries)}, cotangents {size(crossing.cotangents)}, "
        f"inputs {size(crossing.inputs)}",
        indent=4,
    )


def _names(page: Page, plan: PlanReport) -> None:
    page.line()
    page.paragraph(f"no split: {plural(len(plan.names), 'name')} that split.after accepts", indent=2)
    for name in plan.names:
        page.line(inline(name), indent=4)
