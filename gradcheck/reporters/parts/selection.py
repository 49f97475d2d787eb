"""The selection and order of tensors in a report: by training step, by segment, then by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.text import inline, named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import CheckReport, RunReport, SegmentReport, TensorReport

#: Kinds that have a group of their own, after the segments (inputs come before them).
_OWN_GROUPS = {
    "output": "outputs",
    "loss": "loss",
    "state": "state after the pass",
    "optimizer": "optimizer",
}
_FEW_LAYERS = 3


@dataclass(frozen=True)
class Group:
    """Tensors under one subheading."""

    title: str
    tensors: tuple[TensorReport, ...]


def is_control(check: CheckReport) -> bool:
    """Whether the check was expected to differ, and does: its differences are no failures."""
    return check.expect == "mismatch" and check.outcome == "mismatch"


def is_audit(check: CheckReport) -> bool:
    """Whether a script was audited: diagnoses, which name its lines, stand before the rows, and many rows are cut."""
    return check.method == "audit"


def fails(tensor: TensorReport, check: CheckReport) -> bool:
    """Whether `tensor` is a failure, outside of an expected mismatch."""
    return tensor.failed and not is_control(check)


def shown(check: CheckReport, show: Show) -> tuple[TensorReport, ...]:
    """Return the tensors of `check` that `show` selects, in report order."""
    if show == "all":
        return check.tensors
    return tuple(t for t in check.tensors if show == "failed" and fails(t, check))


def grouped(tensors: Iterable[TensorReport], segments: Iterable[SegmentReport]) -> tuple[Group, ...]:
    """Group tensors: inputs, then each segment (weights by layer, then boundaries that it makes), then the other kinds.

    In training these groups repeat for each step.
    """
    by_index = {segment.index: segment for segment in segments}
    groups: dict[tuple[int, int, int], list[TensorReport]] = {}
    for tensor in tensors:
        groups.setdefault(_group_key(tensor), []).append(tensor)
    return tuple(Group(_title(rows[0], by_index), tuple(_by_layer(rows))) for _, rows in sorted(groups.items()))


def layers_in_brief(segment: SegmentReport) -> str:
    """Return the names of the segment's layers; of many the first and the last, and their number."""
    if len(segment.layers) <= _FEW_LAYERS:
        return named(segment.layers)
    return f"{inline(segment.layers[0])} to {inline(segment.layers[-1])}, {len(segment.layers)} layers"


def run_errors(run: RunReport) -> tuple[Mistake, ...]:
    """Return every error of the run as a whole; those of its checks are shown with the checks."""
    return run.own_errors


def config_name(run: RunReport) -> str:
    """Return the name that tells this run from others: its file, or its own name if there is no file."""
    return inline(run.config or run.name)


def _group_key(tensor: TensorReport) -> tuple[int, int, int]:
    """Return the sort key of the tensor's group: step, then inputs, segments, and kinds with their own group."""
    step = tensor.step or 0
    if tensor.kind == "input":
        return (step, 0, 0)
    if tensor.kind in _OWN_GROUPS:
        return (step, 3, list(_OWN_GROUPS).index(tensor.kind))
    return (step, 2, 0) if tensor.segment is None else (step, 1, tensor.segment)


def _title(tensor: TensorReport, segments: dict[int, SegmentReport]) -> str:
    step = "" if tensor.step is None else f"step {tensor.step}, "
    return step + _place(tensor, segments)


def _place(tensor: TensorReport, segments: dict[int, SegmentReport]) -> str:
    if tensor.kind == "input":
        return "inputs"
    if tensor.kind in _OWN_GROUPS:
        return _OWN_GROUPS[tensor.kind]
    if tensor.segment is None:
        return "whole model"
    segment = segments.get(tensor.segment)
    if segment is None:
        return f"segment {tensor.segment}"
    return f"segment {segment.index}: {inline(segment.name)} ({layers_in_brief(segment)})"


def _by_layer(tensors: list[TensorReport]) -> list[TensorReport]:
    """Sort by layer, in the order of first appearance; boundaries come after all weights."""
    order = {layer: place for place, layer in reversed(list(enumerate(t.layer for t in tensors)))}
    return sorted(tensors, key=lambda t: (t.kind in ("boundary", "jacobian"), order[t.layer]))
