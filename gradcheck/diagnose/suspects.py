"""The mistakes that a wrong training run is suspected of, each with the updates that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.batch.slices import sliceable
from gradcheck.diagnose.replaying.replays import MOST_SLICES, name_of, suspected_in
from gradcheck.diagnose.wording import named_at, named_in
from gradcheck.faults.injection import Replays
from gradcheck.faults.training import TRAINING_FAULTS, FirstStep, applicable, committed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from gradcheck.diagnose.effort import Effort
    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.side_by_side import Trained
    from gradcheck.training.steps import Compute, Trainee, Update

#: Faults that leave weights without a gradient; an optimizer that is not given these weights does the same.
LEFT_OUT = frozenset({"GC102", "GC403"})
#: The commonest faults of the forward pass, of which a few replays tell.
FORWARD = frozenset({"GC108"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Suspect:
    """A mistake that may explain the run, compared over `steps` steps; `again` covers all steps if `steps` does not.

    `name` tells it from every other. `of_segments` says that it is one of the many that depend on the model's segments.
    """

    name: Any
    diagnosis: Diagnosis
    update: Callable[[Trainee], Update]
    steps: int
    again: Suspect | None = None
    of_segments: bool = False


def of_loop(training: ReferenceTraining, trained: Trained, way: str) -> Iterator[Suspect]:
    """Yield mistakes of the loop over all steps."""
    count = trained.steps
    sliced = (
        _own_slices(trained, way)
        and not training.problem.slices
        and sliceable(training.problem.model, training.problem.batch)
    )
    counts = range(2, min(training.problem.batch.size, MOST_SLICES) + 1) if sliced else ()
    for fault in applicable(training, count, way, counts=counts, seen=_seen(training, trained)):
        evidence = f"{fault.effect}. The observed training run equals that mistake's in all {count} steps"
        yield Suspect(
            name=fault,
            diagnosis=named_in(fault.code, fault.place, evidence),
            update=partial(committed, fault),
            steps=count,
            of_segments=fault not in TRAINING_FAULTS,
        )


def _own_slices(trained: Trained, way: str) -> bool:
    """Whether the observed run may have sliced the batch in its own way."""
    return not trained.gradients.outputs and way in ("", "fit")


def of_gradients(
    training: ReferenceTraining, trained: Trained, effort: Effort, way: str, *, only: Collection[str] | None = None
) -> Iterator[Suspect]:
    """Yield mistakes of gradients, which are made in each step: in the first, and then in all of them.

    `only` leaves out all but some codes.
    """
    count = trained.steps
    if trained.first_failing_step != 1:
        return
    kept: list[Replays] = []  # made in the first step, once its problem has the loss scale; shared by all suspects
    with training.cut.entered() as problem:
        sliced = only is None and _own_slices(trained, way)
        injections = suspected_in(problem, own_slices=sliced, effort=effort, only=only)
    for injection in injections:
        evidence = f"{injection.effect}. Weights and slots after the first step equal those that this mistake gives"
        if injection.code in LEFT_OUT:
            evidence += ", as they would if those weights were not given to the optimizer"

        found = named_at(injection, evidence)

        def wrong(problem: Problem, injection: Injection = injection) -> Gradients:
            kept[:] = kept or [Replays(problem)]
            return kept[0].gradients(injection)

        def wrong_again(problem: Problem, injection: Injection = injection) -> Gradients:
            return Replays(problem).gradients(injection)  # not shared: each step has other weights

        once = Suspect(name=name_of(injection), diagnosis=found, update=partial(_applying, wrong), steps=1)
        again = replace(once, update=partial(_applying, wrong_again), steps=count) if count > 1 else None
        yield replace(once, again=again)


def _seen(training: ReferenceTraining, trained: Trained) -> FirstStep:
    """Return what the first step shows by itself."""
    first = trained.observed[0]
    counts = [key for key, place in training.where.items() if key.kind == "optimizer" and place.name == "iteration"]
    changed = [int(first[key]) - int(training.start[key]) for key in counts if key in first]
    made = trained.handed[0].calls if trained.handed else 0
    failed = {row.path for row in trained.tensors if row.step == 1 and row.kind == "weight" and row.failed}
    return FirstStep(
        made=made or None,
        counted=changed[0] if len(changed) == 1 else None,
        wrong=[i for i, weight in enumerate(training.problem.weights) if weight.path in failed],
    )


def _applying(compute: Compute, trainee: Trainee) -> Update:
    return trainee.applying(compute)
