"""Faults of a training loop: the gradients are right, the updates over the steps are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import TrainingFault
from gradcheck.handoff.tensors import added, scaled
from gradcheck.problem.optimizer import innermost, loss_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.training.steps import Compute, Trainee, Update

    Gradient = Any


@dataclass(frozen=True, kw_only=True)
class FromEarlierSteps(TrainingFault):
    """Steps after the first apply other gradients than their own.

    Attributes:
        applied: called with the gradients kept by the step before (the first step keeps its own) and the step's own
            gradients. Returns the gradients to apply and those to keep.
        from_zeros: whether zeros are kept before the first step, which then applies these.
    """

    code: str
    effect: str
    applied: Callable[[Sequence[Gradient], Sequence[Gradient]], tuple[Sequence[Gradient], Sequence[Gradient]]]
    from_zeros: bool = False

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Whether some step has one before it."""
        return steps > 1

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that applies its own gradients only in the first step."""
        kept: Sequence[Gradient] = ()

        def changed(own: Sequence[Gradient]) -> list[Gradient]:
            nonlocal kept
            if self.from_zeros and not kept:
                kept = [scaled(gradient, tf.zeros(())) for gradient in own]
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
STALE_FROM_ZEROS = FromEarlierSteps(
    code="GC305",
    effect="each step applied the gradients of the step before, and the first one zeros",
    applied=lambda kept, own: (kept, own),
    from_zeros=True,
)


@dataclass(frozen=True)
class SteppedPerSegment(TrainingFault):
    """GC306: the optimizer takes a step for each segment, so that its iteration count runs ahead."""

    code = "GC306"
    effect = "the optimizer was asked once for each segment, so its iteration count runs ahead"
    backward: bool = False

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether several segments have weights."""
        return steps > 0 and len(trainee.by_segment()) > 1

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that updates one segment after another, with `backward` from the last to the first."""
        segments = trainee.by_segment()
        return trainee.applying(compute, groups=segments[::-1] if self.backward else segments)


@dataclass(frozen=True)
class AppliedTwice(TrainingFault):
    """GC306: each step hands the same gradients to the optimizer twice."""

    code = "GC306"
    effect = "the optimizer was given all gradients twice in each step, so its iteration count runs ahead"

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Whether there is any step."""
        return steps > 0

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that applies all gradients twice."""
        every = range(len(trainee.variables))
        return trainee.applying(compute, groups=[every, every])


@dataclass(frozen=True)
class LossNotScaled(TrainingFault):
    """GC503 reversed: the optimizer divides by a loss scale that the loss was not multiplied by."""

    code = "GC503"
    effect = "the optimizer divides the gradients by its loss scale, and the loss was not multiplied by it"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether the optimizer has a loss scale."""
        return steps > 0 and loss_scale(trainee.optimizer) is not None

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that applies the gradients of the unscaled loss."""
        apply = trainee.applying(compute)
        return lambda problem, optimizer: apply(replace(problem, loss_scale=None), optimizer)


@dataclass(frozen=True)
class LossScaleKept(TrainingFault):
    """GC503: the gradients of the scaled loss go past the `LossScaleOptimizer`, which would divide them."""

    code = "GC503"
    effect = "the inner optimizer was given the gradients of the scaled loss, and nobody divided them by the scale"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether another optimizer scales the loss."""
        return steps > 0 and innermost(trainee.optimizer) is not trainee.optimizer

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step of the inner optimizer."""
        return replace(trainee, optimizer=innermost(trainee.optimizer)).applying(compute)


@dataclass(frozen=True)
class ClippedPerSegment(TrainingFault):
    """GC405: each segment's gradients are clipped by their own norm, not by the global norm."""

    code = "GC405"
    effect = "the gradients of each segment were clipped by their own norm, instead of by the norm of all together"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether the optimizer clips by the global norm and several segments have weights."""
        return bool(steps and trainee.global_clipnorm and len(trainee.by_segment()) > 1)

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that clips each segment's gradients before the optimizer clips all of them."""
        segments, norm = trainee.by_segment(), trainee.global_clipnorm

        def clipped(gradients: Sequence[Gradient]) -> list[Gradient]:
            found = list(gradients)
            for segment in segments:
                apart, _ = tf.clip_by_global_norm([found[i] for i in segment], norm)
                for i, gradient in zip(segment, apart, strict=True):
                    found[i] = gradient
            return found

        return trainee.applying(compute, change=clipped)
