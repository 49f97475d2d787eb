"""GC207 and GC405 under replicas: a sum that is no mean, and gradients that each replica clips by itself."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import TrainingFault
from gradcheck.faults.training.accumulating import gradients_by_slice, in_sum
from gradcheck.problem.optimizer import innermost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update

_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


@dataclass(frozen=True)
class NotDivided(TrainingFault):
    """GC207: the replicas' gradients of a mean loss are added, and nobody divides by the number of replicas."""

    code = "GC207"
    effect = "each replica took the mean loss of its own part, and nobody divided the sum by the number of replicas"
    nowhere = "no loss function that returns a scalar"
    way = "replicas"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether a loss of several replicas is the user's own function: of a Keras loss the reduction is known."""
        problem = trainee.problem
        own = any(term is not None and term.reduction is None for term in problem.loss.terms)
        return steps > 0 and len(problem.slices) > 1 and own

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step whose replicas count in full."""
        terms = trainee.problem.loss.terms

        def whole(part: Slice) -> Slice:
            pairs = zip(part.scales, terms, strict=True)
            return replace(part, scales=tuple(1.0 if t is not None and t.reduction is None else s for s, t in pairs))

        return trainee.applying(lambda problem: compute(replace(problem, slices=tuple(map(whole, problem.slices)))))


@dataclass(frozen=True)
class ClippedPerReplica(TrainingFault):
    """GC405: each replica clips its own gradients before they are added. `evenly`: and all replicas weigh the same."""

    code = "GC405"
    effect = "each replica clipped its own gradients before they were added, instead of their sum"
    nowhere = "the optimizer does not clip"
    way = "replicas"
    evenly: bool = False

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether the optimizer clips and there are several replicas."""
        optimizer = innermost(trainee.optimizer)
        return steps > 0 and len(trainee.problem.slices) > 1 and any(getattr(optimizer, name) for name in _CLIPS)

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that clips the gradients of each slice, and not their sum."""
        optimizer = innermost(trainee.optimizer)

        def clipped(problem: Problem) -> Gradients:
            if self.evenly:
                problem = replace(problem, slices=tuple(_alike(part, len(problem.slices)) for part in problem.slices))
            parts = gradients_by_slice(problem, compute)
            return in_sum(problem, [self._clipped(problem, optimizer, part) for part in parts])

        apply = trainee.applying(clipped)

        def update(problem: Problem, given: Any) -> Gradients:
            with _unclipped(optimizer):
                return apply(problem, given)

        return update

    @staticmethod
    def _clipped(problem: Problem, optimizer: Any, part: Gradients) -> Gradients:
        keys = [weight.key for weight in problem.weights if part.tensors[weight.key] is not None]
        found = _clip(optimizer, [part.tensors[key] for key in keys])
        return replace(part, tensors={**part.tensors, **dict(zip(keys, found, strict=True))})


def _alike(part: Slice, count: int) -> Slice:
    return replace(part, scales=tuple(None if scale is None else 1 / count for scale in part.scales))


def _clip(optimizer: Any, gradients: Sequence[Any]) -> list[Any]:
    """Return gradients clipped as the optimizer clips."""
    if optimizer.clipnorm:
        return [tf.clip_by_norm(gradient, optimizer.clipnorm) for gradient in gradients]
    if optimizer.global_clipnorm:
        found, _ = tf.clip_by_global_norm(gradients, optimizer.global_clipnorm)
        return list(found)
    return [tf.clip_by_value(gradient, -optimizer.clipvalue, optimizer.clipvalue) for gradient in gradients]


@contextmanager
def _unclipped(optimizer: Any) -> Iterator[None]:
    """Let the optimizer take gradients as they are."""
    before = {name: getattr(optimizer, name) for name in _CLIPS}
    vars(optimizer).update(dict.fromkeys(_CLIPS))
    try:
        yield
    finally:
        vars(optimizer).update(before)
