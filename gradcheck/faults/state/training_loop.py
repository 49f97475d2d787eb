"""Mistakes of a training loop: the gradients are right, and what is done with them over the steps is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from gradcheck.config.sections.methods import MethodOptions
from gradcheck.handoff.tensors import added
from gradcheck.methods import METHODS
from gradcheck.problem.optimizer import loss_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Compute, Trainee, Update

    Gradient = Any


class TrainingFault(Protocol):
    """A way to get a training loop wrong that hands right gradients from segment to segment."""

    code: str
    #: What goes wrong, as a clause for people.
    effect: str
    nowhere: str = "no training steps"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether it can change anything in so many steps."""
        ...

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """One wrong training step, told from right gradients; it is asked once for each training run."""
        ...


@dataclass(frozen=True, kw_only=True)
class FromEarlierSteps(TrainingFault):
    """Steps after the first apply something else than their own gradients.

    Attributes:
        applied: of what the step before kept, its own gradients in the first one, and the step's own: what it applies,
            and what it keeps.
    """

    code: str
    effect: str
    applied: Callable[[Sequence[Gradient], Sequence[Gradient]], tuple[Sequence[Gradient], Sequence[Gradient]]]

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Where there is a step before."""
        return steps > 1

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Applies its own gradients in the first step."""
        kept: Sequence[Gradient] = ()

        def changed(own: Sequence[Gradient]) -> list[Gradient]:
            nonlocal kept
            found, kept = self.applied(kept, own) if kept else (own, own)
            return list(found)

        return trainee.applying(compute, change=changed)


def _summed(kept: Sequence[Gradient], own: Sequence[Gradient]) -> tuple[Sequence[Gradient], Sequence[Gradient]]:
    total = [added(*pair) for pair in zip(kept, own, strict=True)]
    return total, total


NOT_CLEARED = FromEarlierSteps(
    code="GC205",
    effect="each step applied the sum of its own gradients and those of every step before",
    applied=_summed,
)
STALE_WEIGHTS = FromEarlierSteps(
    code="GC305",
    effect="each step after the first applied the gradients of the step before",
    applied=lambda kept, own: (kept, own),
)


@dataclass(frozen=True)
class SteppedPerSegment(TrainingFault):
    """GC306: the optimizer takes a step for each segment, so that its iteration count runs ahead."""

    code = "GC306"
    effect = "the optimizer was asked once for each segment, so its iteration count runs ahead"
    backward: bool = False

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Where several segments have weights."""
        return steps > 0 and len(trainee.by_segment()) > 1

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Applies the gradients of one segment after another: from the first to the last, or back."""
        segments = trainee.by_segment()
        return trainee.applying(compute, groups=segments[::-1] if self.backward else segments)


@dataclass(frozen=True)
class AppliedTwice(TrainingFault):
    """GC306: each step hands the same gradients to the optimizer twice."""

    code = "GC306"
    effect = "the optimizer was given all gradients twice in each step, so its iteration count runs ahead"

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Where a step is taken."""
        return steps > 0

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Applies all, and all again."""
        every = range(len(trainee.variables))
        return trainee.applying(compute, groups=[every, every])


@dataclass(frozen=True)
class LossNotScaled(TrainingFault):
    """GC503, the other way round: the optimizer divides by a loss scale that the loss never got."""

    code = "GC503"
    effect = "the optimizer divides the gradients by its loss scale, and the loss was not multiplied by it"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Where the optimizer has a loss scale."""
        return steps > 0 and loss_scale(trainee.optimizer) is not None

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Applies the gradients of the loss as it is."""
        apply = trainee.applying(compute)
        return lambda problem, optimizer: apply(replace(problem, loss_scale=None), optimizer)


@dataclass(frozen=True)
class ClippedPerSegment(TrainingFault):
    """GC405: each segment's gradients are clipped by their own norm, not by that of all."""

    code = "GC405"
    effect = "the gradients of each segment were clipped by their own norm, instead of by the norm of all together"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Where the optimizer clips by a global norm, and several segments have weights."""
        return bool(steps and trainee.global_clipnorm and len(trainee.by_segment()) > 1)

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Clips each segment's gradients before the optimizer clips them all."""
        segments, norm = trainee.by_segment(), trainee.global_clipnorm

        def clipped(gradients: Sequence[Gradient]) -> list[Gradient]:
            found = list(gradients)
            for segment in segments:
                apart, _ = tf.clip_by_global_norm([found[i] for i in segment], norm)
                for i, gradient in zip(segment, apart, strict=True):
                    found[i] = gradient
            return found

        return trainee.applying(compute, change=clipped)


#: Every fault of a training loop; of several with the same effect the earlier is named first.
TRAINING_FAULTS: tuple[TrainingFault, ...] = (
    SteppedPerSegment(),
    SteppedPerSegment(backward=True),
    AppliedTwice(),
    LossNotScaled(),
    ClippedPerSegment(),
    NOT_CLEARED,
    STALE_WEIGHTS,
)


def applicable(training: ReferenceTraining, steps: int) -> list[TrainingFault]:
    """The faults that can change anything in the first so many steps."""
    with training.replica.entered() as problem:
        trainee = training.trainee(problem, problem.owned_variables)
        return [fault for fault in TRAINING_FAULTS if fault.applies(trainee, steps)]


def committed(fault: TrainingFault, trainee: Trainee) -> Update:
    """The training step of one who hands gradients on rightly, and makes this mistake with them."""
    return fault.update(trainee, _right)


def _right(problem: Problem) -> Gradients:
    return METHODS["vjp"](problem, MethodOptions())
