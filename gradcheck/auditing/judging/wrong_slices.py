"""What goes wrong in summing over slices of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.auditing.judging.changes import NEAR
from gradcheck.diagnose.wording import named
from gradcheck.phrases import plural

if TYPE_CHECKING:
    from gradcheck.auditing.judging.case import Case, Found
    from gradcheck.auditing.judging.judgement import Array


def wrong_slices(case: Case) -> Found:
    """Name what went wrong in summing over slices of a batch."""
    j, q = case.j, case.j.question
    refs = [r for r in j.references if r is not None]
    if len(refs) < 2 or len(refs) != len(j.references) or j.candidate is None or j.expected is None:  # noqa: PLR2004
        return []
    used = {node.call for node in q.nodes}
    if not q.unused or not used:
        return _weighted(case, refs) or ([] if used else _partial(case, refs))
    of = plural(len(refs), "micro-batch", "micro-batches")
    dropped = q.unused[-1]
    if dropped.number < max(used):
        means = (1.0, 1 / len(refs), *(n / sum(j.counts) for n in j.counts))
        last = any(case.is_(refs[-1] * factor) for factor in means)
        text = f"{case.path} was handed the last of {of} alone"
        return [(named("GC204", text), dropped.line)] if last else []
    left_out = named("GC206", f"the last of {of} came after the update")
    if len(refs) > 2 or q.consumed:  # noqa: PLR2004 - of two, the first may also be that of the step before
        return [(left_out, q.update.line)]
    before = named("GC305", f"{case.path} was handed the gradient of the step before", confidence="possible")
    return [(replace(left_out, confidence="possible"), q.update.line), (before, q.update.line)]


def _weighted(case: Case, refs: list[Array]) -> Found:
    """Name wrong weights of slices that are all there."""
    j, count, line = case.j, len(refs), case.j.question.update.line
    of, summed = plural(count, "micro-batch", "micro-batches"), sum(refs[1:], refs[0])
    averaged = any(abs(weight - 1) > NEAR for weight in j.weights)
    if averaged and case.is_(summed):
        text = f"{case.path} was handed the sum over {of} of one mean loss, {count} times the mean"
        return [(named("GC201", text), line)]
    if j.expected is not None and case.is_(j.expected / count):
        text = f"{case.path} was handed 1/{count} of its gradient: the mean over {of} was taken twice"
        return [(named("GC202", text), line)]
    if len(set(j.counts)) > 1 and case.is_(summed / count):
        sizes = ", ".join(map(str, j.counts))
        return [(named("GC203", f"the {of} have {sizes} elements and count alike"), line)]
    return []


def _partial(case: Case, refs: list[Array]) -> Found:
    """Name slices that are missing where nobody saw how they were put together."""
    line, of = case.j.question.update.line, plural(len(refs), "micro-batch", "micro-batches")
    for factor in (1.0, 1 / len(refs), 1 / (len(refs) - 1)):
        if case.is_(refs[-1] * factor):
            return [(named("GC204", f"{case.path} was handed the last of {of} alone"), line)]
        if case.is_(sum(refs[1:-1], refs[0]) * factor):
            return [(named("GC206", f"the last of {of} is not in what {case.path} was handed"), line)]
    return []
