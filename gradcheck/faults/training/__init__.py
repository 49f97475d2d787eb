"""Faults of training: the gradients are right, the updates over the steps are wrong.

A new one is a class in a file here and an entry in `TRAINING_FAULTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.config.sections.methods import MethodOptions
from gradcheck.faults.training.accumulating import PerMicroBatch
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
from gradcheck.faults.training.replicated import ClippedPerReplica, NotDivided
from gradcheck.faults.training.saving import SeedsLost, SlotsLost
from gradcheck.methods import METHODS

if TYPE_CHECKING:
    from gradcheck.faults.interface import TrainingFault
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Trainee, Update

#: Every fault of a training run; of several that give the same result the earlier is named first.
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
    NOT_CLEARED,
    STALE_WEIGHTS,
    STALE_FROM_ZEROS,
)


def applicable(training: ReferenceTraining, steps: int, way: str = "") -> list[TrainingFault]:
    """Return the faults that can change anything within `steps` training steps, done in the given way of training."""
    with training.cut.entered() as problem:
        trainee = training.trainee(problem, problem.owned_variables)
        return [fault for fault in TRAINING_FAULTS if fault.way in ("", way) and fault.applies(trainee, steps)]


def committed(fault: TrainingFault, trainee: Trainee) -> Update:
    """Return a training step whose gradients are correct and whose update has `fault`."""
    return fault.update(trainee, _right)


def _right(problem: Problem) -> Gradients:
    found: Gradients = METHODS["vjp"](problem, MethodOptions())
    return found
