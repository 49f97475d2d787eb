"""Diagnosis of a tape that finite differences contradict: tensor by tensor, then in the model's custom gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gradcheck.building.naming import place_of_function
from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.custom_gradients import custom_gradients_of
from gradcheck.diagnose.custom_gradients import wrong_derivatives
from gradcheck.diagnose.wording import named
from gradcheck.phrases import some
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.custom_gradients import Watch
    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.handoff.interface import Wrong
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis, TensorReport

_SAYS = {
    "GC803": "the tape is wrong at this point, and right beside it",
    "GC804": "the tape is outside of the slopes on both sides of a kink, and right beside it",
    "GC805": "the slope is infinite, and the tape says a number",
    "GC403": "the tape says None, and what is differentiated changes",
}


def diagnose_derivatives(
    observed: Observed, watch: Watch, effort: Effort, *, first_order: bool = True
) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of the wrong rows of a comparison with finite differences.

    Args:
        observed: the tape compared with finite differences, which already show the mistakes of single tensors.
        watch: the `Watch` under which the model's code was loaded.
        effort: collects the steps that fail.
        first_order: whether the derivatives are those of the loss, rather than of its gradients.
    """
    problem, wrong = observed.problem, observed.gradients.wrong
    of_code: dict[str, list[TensorReport]] = {}
    for row in (row for row in observed.rows if row.failed):
        known = wrong.get(TensorKey(row.kind, row.path))
        of_code.setdefault(known.code if known and known.code in _SAYS else "", []).append(row)
    around = of_code.pop("", [])
    states = [row for row in around if row.kind == "state"]
    # The comparison is with a forward pass alone: only the backward pass can have moved the state further.
    if states and len(states) == len(around):
        return (_moved_twice(states),)
    certain = tuple(_by_code(of_code, wrong))
    if not around:
        return certain
    # A recomputation that differs makes the tape wrong by itself: custom gradients are suspected only without one.
    redrawn = effort.attempt("the recomputations", partial(_redrawn, problem, around, watch))
    suspected = partial(wrong_derivatives, replace(observed, rows=around), watch, effort, first_order=first_order)
    return (*certain, *(redrawn or suspected()))


def _redrawn(problem: Problem, rows: Sequence[TensorReport], watch: Watch) -> tuple[Diagnosis, ...]:
    """Return a diagnosis for each function under `tf.recompute_grad` whose second run gives other values."""
    custom_gradients_of(problem, watch)  # also fills `watch.recomputed`
    first, found = first_wrong(rows), {}
    for recomputed in watch.recomputed:
        if first is not None and not recomputed.repeats:
            place = place_of_function(recomputed.function)
            evidence = f"{place} is recomputed in the backward pass, and gives other values when it is run again"
            if problem.draws:
                evidence += ": it draws other random numbers"
            layer = recomputed.layer or first.layer
            code = "GC303" if problem.draws else "GC605"
            found[layer, place] = named(code, evidence, where=layer, segment=first.segment, layer=layer)
    return tuple(found.values())


def _moved_twice(states: Sequence[TensorReport]) -> Diagnosis:
    """Return GC302 for state that a recomputation in the backward pass assigns again."""
    evidence = (
        f"after the backward pass {some([row.path for row in states])} differ from what a forward pass alone leaves: "
        "something that is recomputed in it assigns them again"
    )
    return named("GC302", evidence, segment=states[0].segment, layer=states[0].layer)


def _by_code(of_code: Mapping[str, Sequence[TensorReport]], wrong: Mapping[TensorKey, Wrong]) -> Iterator[Diagnosis]:
    for code, says in _SAYS.items():
        rows = of_code.get(code, [])
        first = first_wrong(rows)
        if first is not None:
            figures = wrong[TensorKey(first.kind, first.path)].says
            evidence = f"{says}, with {some([row.path for row in rows])}; for {first.path} {figures}"
            yield named(code, evidence, segment=first.segment, layer=first.layer)
