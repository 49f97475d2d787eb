"""GC207 and GC405 under replicas: a sum that is no mean, and gradients that each replica clips by itself."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.faults.interface import TrainingFault
from gradcheck.faults.training.accumulating import gradients_by_slice, in_sum
from gradcheck.problem.optimizer import innermost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update

_CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")


@dataclass(frozen=True)
class NotDivided(TrainingFault):
    """GC207: the replicas' gradients of a mean loss are added, and nobody divides by the number of replicas."""

    code = "GC207"
    effect = "each replica took the mean loss of its own part, and nobody divided the sum by the number of replicas"
    nowhere = "no loss function that returns a scalar"
    way = "replicas"

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether a loss of several replicas returns a scalar, which Keras does not divide."""
        return steps > 0 and len(trainee.problem.slices) > 1 and any(_scalars(trainee.problem))

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step whose replicas count in full."""
        scalars = _scalars(trainee.problem)

        def whole(part: Slice) -> Slice:
            pairs = zip(part.scales, scalars, strict=True)
            return replace(part, scales=tuple(1.0 if is_scalar else scale for scale, is_scalar in pairs))

        return trainee.applying(lambda problem: compute(replace(problem, slices=tuple(map(whole, problem.slices)))))


def _scalars(problem: Problem) -> list[bool]:
    """Return, for each term of the loss, whether its function returns a scalar: the user's own, or a Keras loss's."""
    batch = problem.batch
    with problem.state.preserved():
        outputs = keras.tree.flatten(problem.model(problem.model_inputs(batch.x), training=problem.training))
    found = []
    for term, y, output in zip(problem.loss.terms, batch.y, outputs, strict=True):
        if term is None or term.keras_loss is None:
            found.append(term is not None and term.reduction is None)
        else:
            made = term.keras_loss.call(tf.cast(y, problem.loss.dtype), tf.cast(output, problem.loss.dtype))
            found.append(tf.convert_to_tensor(made).shape.rank == 0)
    return found


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
        clip = _clipping(optimizer)

        def clipped(problem: Problem) -> Gradients:
            if self.evenly:
                problem = replace(problem, slices=tuple(_alike(part, len(problem.slices)) for part in problem.slices))
            parts = gradients_by_slice(problem, compute)
            return in_sum(problem, [_clipped(problem, part, clip) for part in parts])

        apply = trainee.applying(clipped)

        def update(problem: Problem, given: Any) -> Gradients:
            with _unclipped(optimizer):
                return apply(problem, given)

        return update


def _clipped(problem: Problem, part: Gradients, clip: Callable[[Sequence[Any]], list[Any]]) -> Gradients:
    """Return the gradients of one replica, clipped."""
    keys = [weight.key for weight in problem.weights if part.tensors[weight.key] is not None]
    found = clip([part.tensors[key] for key in keys])
    return replace(part, tensors={**part.tensors, **dict(zip(keys, found, strict=True))})


def _alike(part: Slice, count: int) -> Slice:
    return replace(part, scales=tuple(None if scale is None else 1 / count for scale in part.scales))


def _clipping(optimizer: Any) -> Callable[[Sequence[Any]], list[Any]]:
    """Return how the optimizer clips, as a function of gradients."""
    norm, of_all, value = (getattr(optimizer, name) for name in _CLIPS)
    if norm:
        return lambda gradients: [tf.clip_by_norm(gradient, norm) for gradient in gradients]
    if of_all:
        return lambda gradients: list(tf.clip_by_global_norm(gradients, of_all)[0])
    return lambda gradients: [tf.clip_by_value(gradient, -value, value) for gradient in gradients]


@contextmanager
def _unclipped(optimizer: Any) -> Iterator[None]:
    """Let the optimizer take gradients as they are."""
    before = {name: getattr(optimizer, name) for name in _CLIPS}
    vars(optimizer).update(dict.fromkeys(_CLIPS))
    try:
        yield
    finally:
        vars(optimizer).update(before)
