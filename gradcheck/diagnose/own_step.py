"""Diagnosis of a training step by the gradients that it hands to optimizers, and by whose optimizers these are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.batch.slices import make_slices, sliceable
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.reference import Reference
from gradcheck.diagnose.evidence.movement import rate_of_descent
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.gradients import diagnose_gradients
from gradcheck.diagnose.wording import named, named_in
from gradcheck.faults.interface import EVERYWHERE, Place, boundary
from gradcheck.faults.training.later_first import updated_between
from gradcheck.faults.training.per_micro_batch import SteppedPerMicroBatch
from gradcheck.numerics import largest, movement, to_array
from gradcheck.problem.optimizer_settings import differ, in_words
from gradcheck.problem.problem import TensorKey
from gradcheck.training.judged import at
from gradcheck.training.steps import value_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gradcheck.diagnose.effort import Effort
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis
    from gradcheck.training.judged import Judged
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.side_by_side import Trained

    Arrays = Mapping[TensorKey, Any]

#: How far, as a share of their size, gradients are apart that two ways of computing them have rounded.
NEAR = 1e-4


def diagnose_handed(
    training: ReferenceTraining, judged: Sequence[Judged], *, seconds: float, effort: Effort
) -> tuple[Diagnosis, ...]:
    """Return what is wrong with the gradients of the first step that handed over wrong ones; () if none did.

    Args:
        training: the reference's run.
        judged: the steps, compared with the reference's gradients.
        seconds: about how long replays may take.
        effort: collects what fails.
    """
    wrong = next((step for step in judged if step.failed), None)
    if wrong is None:
        return ()
    rules: list[Callable[[], Diagnosis | None]] = [
        partial(_handed_again, training.problem, wrong),
        partial(_of_other_steps, judged, wrong),
        partial(_after_an_update, training, wrong),
    ]
    for rule in rules:
        found = effort.attempt("what was handed over", rule)
        if found is not None:
            return (found,)
    with at(training, wrong.before) as (problem, reference):
        observed = Observed(problem=problem, reference=reference, gradients=wrong.gradients, rows=list(wrong.rows))
        found_in = diagnose_gradients(observed, seconds=seconds, effort=effort)
    return found_in if wrong.number == 1 else tuple(_in_step(diagnosis, wrong.number) for diagnosis in found_in)


def uses_another(training: ReferenceTraining, trained: Trained) -> bool:
    """Whether the step has an optimizer of its own, with other settings than the config's."""
    return bool(_others(training, trained))


def other_optimizer(training: ReferenceTraining, trained: Trained, *, agree: bool) -> Diagnosis:
    """Return GC311: it explains the weights if the gradients that were handed over `agree` with the reference's."""
    meant, others = training.optimizer(), _others(training, trained)
    theirs = ", ".join(dict.fromkeys(in_words(optimizer, meant) for optimizer in others))
    said = "the gradients agree; your optimizer differs" if agree else "beside wrong gradients, your optimizer differs"
    evidence = f"{said}: {theirs}, and train.optimizer is {in_words(meant, others[0])}"
    return named("GC311", evidence, where="the optimizer", confidence="exact" if agree else "likely")


def descent_by_hand(training: ReferenceTraining, trained: Trained) -> tuple[float, Diagnosis] | None:
    """Return GC311 and the rate for a step that moves the weights against the gradients without an optimizer of Keras.

    None if the config's optimizer moves them so too: then the rate, or a wrong gradient, makes the difference.
    """
    if not trained.handed or any(step.calls for step in trained.handed):
        return None
    found = rate_of_descent(training, trained.observed[0])
    if found is None or rate_of_descent(training, training.steps[0]) is not None:
        return None
    rate = float(f"{found:.3g}")
    evidence = (
        "the gradients agree; your optimizer differs: no optimizer of Keras was called, every weight moved by "
        f"{-rate:g} times its gradient, and train.optimizer is {in_words(training.optimizer())}"
    )
    return rate, named("GC311", evidence, where="the optimizer")


def _others(training: ReferenceTraining, trained: Trained) -> list[Any]:
    meant = training.optimizer() if trained.own else None
    return [optimizer for optimizer in trained.own if differ(optimizer, meant)]


def _in_step(diagnosis: Diagnosis, number: int) -> Diagnosis:
    return replace(diagnosis, evidence=f"in step {number}, {diagnosis.evidence}")


def _handed_again(problem: Problem, step: Judged) -> Diagnosis | None:
    """Return GC306 or GC310 for weights that were handed to an optimizer several times for one update."""
    times = step.handed.times
    if not times:
        return None
    most = max(times.values())
    first = {key: step.handed.first[key] for key in times}
    if all(_near(_times(first[key], count), step.gradients.tensors[key]) for key, count in times.items()):
        which = (
            "all weights" if len(times) == len(problem.weights) else f"{len(times)} of {len(problem.weights)} weights"
        )
        return named("GC306", f"the same gradients of {which} were handed to an optimizer {most} times in one step")
    here = _stepping(problem, times)
    evidence = f"{step.number}, optimizers were called {step.handed.calls} times"
    for shares in [False, True]:
        fault = SteppedPerMicroBatch(count=most, shares=shares, place=here)
        if _is_first_of(problem, step, most, first, shares=shares):
            said = f"{fault.effect}. In step {evidence}, first with the gradients of the first micro-batch"
            return named_in("GC310", here, said)
    said = f"{_whose(here)} updated {most} times in step {evidence}"
    return replace(named_in("GC310", here, said), confidence="likely")


def _whose(place: Place | None) -> str:
    return "all segments were" if place is None else f"{place.text} alone was"


def _stepping(problem: Problem, keys: Collection[TensorKey]) -> Place | None:
    """Return the one segment whose weights are all of `keys`, if there are others; else None."""
    of = {w.key: min(w.segments, default=0) for w in problem.weights}
    inside = {of[key] for key in keys}
    if len(inside) != 1 or len(set(of.values())) == 1:
        return None
    (index,) = inside
    return Place(text=problem.segments[index].plan.name, segment=index)


def _is_first_of(problem: Problem, step: Judged, count: int, first: Arrays, *, shares: bool) -> bool:
    """Whether the first gradients are those of the first of `count` micro-batches, at the weights of the first step."""
    if step.number != 1 or count > problem.batch.size or not sliceable(problem.model, problem.batch):
        return False
    with problem.state.preserved():
        part = make_slices(count, problem.model, problem.batch, problem.loss, training=problem.training)[0]
    tensors = Reference(replace(problem, batch=part.of_batch(problem.batch), slices=())).tensors
    factor = part.share if shares else 1.0
    return all(_near(_times(as_array(tensors[key]), factor), gradient) for key, gradient in first.items())


def _of_other_steps(judged: Sequence[Judged], step: Judged) -> Diagnosis | None:
    """Return GC205 or GC305 for gradients that add up those of earlier steps, or that are those of the step before."""
    if step.number == 1:
        return None
    earlier, found = [one.expected for one in judged[: step.number]], step.gradients.tensors
    if all(_near(_summed([one[key] for one in earlier]), found[key]) for key in step.expected):
        said = f"in step {step.number}, the sum of its own gradients and those of every step before was handed over"
        return named("GC205", said)
    if all(_near(earlier[-2][key], found[key]) for key in step.expected):
        return named("GC305", f"in step {step.number}, the gradients of the step before were handed over")
    return None


def _after_an_update(training: ReferenceTraining, step: Judged) -> Diagnosis | None:
    """Return GC305 for gradients of earlier segments whose cotangent came through the new weights of later ones."""
    problem = training.problem
    wrong = {TensorKey(row.kind, row.path) for row in step.rows if row.failed and row.kind == "weight"}
    first = {w.key: min(w.segments, default=0) for w in problem.weights}
    users = sorted(set(first.values()))
    if problem.slices or not wrong or any(first[key] == users[-1] for key in wrong):
        return None
    places = [({users[i]}, boundary(problem, users[i - 1])) for i in range(len(users) - 1, 0, -1)]
    if len(places) > 1:
        places.append((set(users[1:]), EVERYWHERE))
    for inside, place in places:
        meant = _between(training, step, inside)
        if all(_near(as_array(meant[key]), step.gradients.tensors[key]) for key in first):
            said = f"the cotangent at {place.text} was computed with weights that were already updated in the same step"
            return named_in("GC305", place, said)
    return None


def _between(training: ReferenceTraining, step: Judged, inside: Collection[int]) -> Arrays:
    """Return the gradients of a step whose segments `inside` have their new weights before they hand back."""
    with at(training, step.before) as (problem, _):
        own = dict(zip((weight.key for weight in problem.weights), problem.owned_variables, strict=True))

        def updated(index: int, found: Arrays) -> None:
            for weight in problem.weights:
                if weight.key in found and min(weight.segments, default=0) == index:
                    own[weight.key].assign(step.after[value_key(weight)])

        return updated_between(problem, inside, updated).tensors


def _times(gradient: Any, factor: float) -> Any:
    return None if gradient is None else to_array(gradient) * factor


def _summed(gradients: Sequence[Any]) -> Any:
    known = [to_array(gradient) for gradient in gradients if gradient is not None]
    return sum(known) if known else None


def _near(expected: Any, found: Any) -> bool:
    """Whether two gradients are equal but for rounding."""
    if expected is None or found is None:
        return expected is None and found is None
    one, other = to_array(expected), to_array(found)
    return bool(one.shape == other.shape and movement(one, other) <= NEAR * max(largest(one), largest(other)))
