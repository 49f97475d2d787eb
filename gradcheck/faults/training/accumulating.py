"""GC309: what should happen once in a step happens once in a micro-batch, as in Keras's gradient accumulation."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import keras

from gradcheck.faults.interface import TrainingFault
from gradcheck.handoff.tensors import added
from gradcheck.keras_private import average_updated, schedule_of
from gradcheck.problem.optimizer import innermost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update


def gradients_by_slice(problem: Problem, compute: Compute) -> Iterator[Gradients]:
    """Yield the gradients of one micro-batch after another, each with its weight in the whole."""
    for part in problem.slices:
        yield compute(replace(problem, slices=(part,)))


def in_sum(problem: Problem, parts: Sequence[Gradients]) -> Gradients:
    """Return the gradients of all micro-batches together; of the rest, those of the last."""
    tensors = dict(parts[-1].tensors)
    for weight in problem.weights:
        tensors[weight.key] = None
        for part in parts:
            tensors[weight.key] = added(tensors[weight.key], part.tensors[weight.key])
    return replace(parts[-1], tensors=tensors)


Counting: TypeAlias = Literal["schedule", "average", "constraints"]
_SAYS: dict[Counting, str] = {
    "schedule": "the learning-rate schedule counted micro-batches",
    "average": "the moving averages of the weights moved on with each micro-batch",
    "constraints": "the constraints of weights were applied after each micro-batch",
}


@dataclass(frozen=True)
class PerMicroBatch(TrainingFault):
    """A schedule, a moving average or a constraint that moves on with each micro-batch; None for all that there are."""

    code = "GC309"
    nowhere = "nothing but the gradients depends on the number of calls"
    way = "accumulate"
    what: Counting | None = None

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        return _SAYS[self.what] if self.what else "schedule, averages and constraints counted micro-batches"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether there are micro-batches, and something that counts them; for all, whether there are several."""
        found = _counting(trainee)
        counts = self.what in found if self.what else len(found) > 1
        return steps > 0 and len(trainee.problem.slices) > 1 and counts

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that counts micro-batches."""
        optimizer = innermost(trainee.optimizer)
        counting = {self.what} if self.what else _counting(trainee)

        def over_slices(problem: Problem) -> Gradients:
            parts: list[Gradients] = []
            for gradients in gradients_by_slice(problem, compute):
                parts.append(gradients)
                if len(parts) == len(problem.slices):
                    break  # the last call is the update itself
                if "average" in counting:
                    average_updated(optimizer)
                for variable in trainee.variables if "constraints" in counting else ():
                    if variable.constraint is not None:
                        variable.assign(variable.constraint(variable.value))
            return in_sum(problem, parts)

        apply = trainee.applying(over_slices)

        def update(problem: Problem, given: Any) -> Gradients:
            with _faster(optimizer, len(problem.slices) if "schedule" in counting else 1):
                return apply(problem, given)

        return update


def _counting(trainee: Trainee) -> set[Counting]:
    """Return what there is that a call of the optimizer moves on, beside the update."""
    optimizer = innermost(trainee.optimizer)
    there: dict[Counting, bool] = {
        "schedule": schedule_of(optimizer) is not None,
        "average": bool(optimizer.use_ema),
        "constraints": any(variable.constraint is not None for variable in trainee.variables),
    }
    return {what for what, is_there in there.items() if is_there}


@contextmanager
def _faster(optimizer: Any, count: int) -> Iterator[None]:
    """Let the schedule, if there is one, count `count` for each step."""
    schedule = schedule_of(optimizer)
    if schedule is None:
        yield
        return
    optimizer.learning_rate = _Counting(schedule, count)
    try:
        yield
    finally:
        optimizer.learning_rate = schedule


class _Counting(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """A schedule that is asked for the last of `count` micro-batches of each step."""

    def __init__(self, schedule: Any, count: int) -> None:
        self._schedule, self._count = schedule, count

    def __call__(self, step: Any) -> Any:
        return self._schedule(step * self._count + self._count - 1)
