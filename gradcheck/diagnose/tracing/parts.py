"""Diagnosis of separate parts that are another model than the whole: what differs first, and whether that is all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.diagnose.evidence.location import located
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.tracing import walk
from gradcheck.diagnose.tracing.alone import wrong_alone
from gradcheck.diagnose.tracing.beside_whole import Difference, PartsBesideWhole
from gradcheck.diagnose.wording import named
from gradcheck.faults.injection import Replays
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.phrases import some

if TYPE_CHECKING:
    from gradcheck.comparing.reference import Reference
    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.tracing.alone import WrongCall
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis

FIX = (
    "Make the part compute what the whole model computes there: the same class with the same arguments, gradients and "
    "weights. Or leave `model.reference` out, and the whole is the composition of the parts."
)


def parts_apart(problem: Problem, reference: Reference, effort: Effort) -> tuple[Diagnosis, ...]:
    """Return how parts differ if a correct split of them has other gradients than the whole; otherwise nothing."""
    if problem.shares_graph or not problem.segments:
        return ()

    def split() -> Observed:
        right = Replays(problem).right
        return Observed(problem=problem, reference=reference, gradients=right, rows=()).of(right)

    right = effort.attempt("the correct split", split)
    return () if right is None or not right.failing else (parts_differ(right, effort),)


def parts_differ(right: Observed, effort: Effort) -> Diagnosis:
    """Return the diagnosis of parts that compute something else than the whole model.

    It is GC113 if the forward pass of a layer differs, GC501 if a part lacks what a layer of the whole adds to the
    loss, GC601 if finite differences contradict the part's own gradient, and GC900 otherwise. A code other than GC900
    is `exact` only if the parts agree with the whole once that layer is the whole's.

    Args:
        right: a correct split of the parts, compared with the whole model.
        effort: collects the steps that fail.
    """
    problem = right.problem
    found = effort.attempt("the comparison of the parts with the whole", partial(difference, problem))
    found = found or _by_rows(right)
    code, how, sure = found.code, found.how, found.alone
    if code == "GC900" and found.alone:
        wrong = effort.attempt("the gradients of the parts' layers", partial(_contradicted, problem, found))
        if wrong is not None:
            code, how = "GC601", f"{how}; {wrong.says}"
    if code == "GC501" or (code != "GC900" and found.calls is not None):
        sure = bool(effort.attempt("the parts with a layer of the whole", partial(_is_all, problem, found)))
    rows = [row.path for row in right.rows if row.failed]
    evidence = f"the parts are not the whole model: a correct split of them gives other values too ({some(rows)}). "
    return named(
        code,
        evidence + how,
        where=None if found.layer is None else f"layer {found.layer}",
        segment=found.segment,
        layer=found.layer,
        confidence="exact" if sure else "likely",
        fix=FIX,
    )


def _by_rows(right: Observed) -> Difference:
    """Return what the compared tensors alone show."""
    row, how = located(right)
    layer = None if row is None or row.kind == "loss" else row.layer
    return Difference(how=f"{how[0].upper()}{how[1:]}", layer=layer, segment=None if row is None else row.segment)


def difference(problem: Problem) -> Difference | None:
    """Return where the parts first differ from the whole model; None if no layer shows it."""
    for part in micro_batches(problem, batch_tensors(problem)):
        sides = PartsBesideWhole(problem, walk.whole(problem, part), walk.parts(problem, part))
        # In this order: gradients are comparable only once the forward passes and the losses agree.
        found = sides.forward() or sides.added() or sides.backward()
        if found is not None:
            return found
    return None


def _contradicted(problem: Problem, found: Difference) -> WrongCall | None:
    """Return the call of the parts' graph that differs, if finite differences contradict it by itself."""
    if found.calls is None:
        return None
    names = {id(call.operation): call.name for call in problem.graph.calls}
    around = {names[id(operation)] for operation in found.calls[0].stack if id(operation) in names}
    return next((wrong for wrong in wrong_alone(problem) if wrong.name in around), None)


def _is_all(problem: Problem, found: Difference) -> bool:
    """Whether parts and whole agree once the parts call the whole's layer in place of the one that differs.

    What a layer adds to the loss is left out on both sides instead, if that is the difference.
    """
    replaced = found.calls if found.code != "GC501" else None
    adds = replaced is not None
    instead = {} if replaced is None else {id(replaced[0].operation): replaced[1].operation}
    layer = None if replaced is None else replaced[1].operation
    for part in micro_batches(problem, batch_tensors(problem)):
        whole = walk.whole(problem, part, adds=adds)
        sides = PartsBesideWhole(problem, whole, walk.parts(problem, part, adds=adds, instead=instead))
        if not sides.agree_but_for(layer):
            return False
    return True
