"""Faults of training: the gradients are right, the updates over the steps are wrong.

A new one is a class in a file here and an entry in `TRAINING_FAULTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradcheck.config.sections.methods import MethodOptions
from gradcheck.faults.training.accumulating import PerMicroBatch
from gradcheck.faults.training.later_first import later_first
from gradcheck.faults.training.loop import (
    NOT_CLEARED,
    STALE_FROM_ZEROS,
    STALE_WEIGHTS,
    AppliedTwice,
    ClippedPerSegment,
    LossNotScaled,
    LossScaleKept,
    SteppedPerSegment,
)
from gradcheck.faults.training.per_micro_batch import SteppedPerMicroBatch, per_micro_batch
from gradcheck.faults.training.replicated import ClippedPerReplica, NotDivided
from gradcheck.faults.training.saving import SeedsLost, SlotsLost
from gradcheck.faults.training.scale_of_segments import scale_of_segments
from gradcheck.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.faults.interface import TrainingFault
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Trainee, Update

#: Every fault of a training run that is the same in every model; of several that give the same result the earlier is
#: named first. Others depend on the segments and on the number of micro-batches: there are many of them.
TRAINING_FAULTS: tuple[TrainingFault, ...] = (
    PerMicroBatch("schedule"),
    PerMicroBatch("average"),
    PerMicroBatch("constraints"),
    PerMicroBatch(),
    NotDivided(),
    ClippedPerReplica(),
    ClippedPerReplica(evenly=True),
    SeedsLost(),
    SlotsLost(),
    SlotsLost(averages=True),
    SteppedPerSegment(),
    SteppedPerSegment(backward=True),
    AppliedTwice(),
    LossNotScaled(),
    LossScaleKept(),
    ClippedPerSegment(),
    SteppedPerMicroBatch(shares=False),
    SteppedPerMicroBatch(shares=True),
    NOT_CLEARED,
    STALE_WEIGHTS,
    STALE_FROM_ZEROS,
)


class FirstStep(NamedTuple):
    """What the first step shows by itself.

    Attributes:
        made: how many calls of optimizers there were, if that was recorded.
        counted: how many the optimizer has counted, if its count was looked at.
        wrong: the indices of weights that are not as they should be after it.
    """

    made: int | None = None
    counted: int | None = None
    wrong: Collection[int] = ()

    def fits(self, fault: TrainingFault, trainee: Trainee) -> bool:
        """Whether a step with this fault may show the same."""
        calls = fault.calls(trainee)
        if not set(self.wrong).isdisjoint(fault.keeps(trainee)):
            return False
        if calls is None:
            return True
        if self.made is not None:
            return self.made == calls
        return self.counted is None or self.counted == (1 if fault.own else calls)


def applicable(
    training: ReferenceTraining, steps: int, way: str = "", *, counts: Sequence[int] = (), seen: FirstStep | None = None
) -> list[TrainingFault]:
    """Return the faults that can change anything within `steps` training steps, done in the given way of training.

    Args:
        training: the reference's run.
        steps: the number of steps.
        way: the way of training; "" for a loop.
        counts: the numbers of micro-batches that a loop may have made of the batch, beside the problem's own.
        seen: what the first step shows.
    """
    with training.cut.entered() as problem:
        trainee = training.trainee(problem, problem.owned_variables)
        known = seen or FirstStep()
        return [
            fault
            for fault in (*scale_of_segments(trainee), *TRAINING_FAULTS, *_within_a_step(trainee, counts))
            if fault.way in ("", way) and fault.applies(trainee, steps) and known.fits(fault, trainee)
        ]


def _within_a_step(trainee: Trainee, counts: Sequence[int]) -> Iterator[TrainingFault]:
    yield from later_first(trainee)
    yield from per_micro_batch(trainee, counts)


def committed(fault: TrainingFault, trainee: Trainee) -> Update:
    """Return a training step whose gradients are correct and whose update has `fault`."""
    return fault.update(trainee, right)


def right(problem: Problem) -> Gradients:
    """Return the gradients of a correct split."""
    found: Gradients = METHODS["vjp"](problem, MethodOptions())
    return found
