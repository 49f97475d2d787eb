"""`replicas`: `tf.distribute` divides each batch among replicas of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.comparing.reference import Reference
from gradcheck.errors import NotApplicable
from gradcheck.handoff.microbatches import sliced
from gradcheck.keras_private import global_seed
from gradcheck.numerics import movement
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.steps import value_key
from gradcheck.training.ways.accumulate import coupling, sliced_batch
from gradcheck.training.ways.elsewhere import Departure, result_elsewhere
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.multi_worker import configs_of, steps_of_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.config.sections.methods import ReplicasOptions
    from gradcheck.handoff.interface import Gradients, Tensors
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Step

#: How much nearer the run must be to the plain loop over the whole batch, to be held against that one.
_FAR_NEARER = 10.0


def replicas(training: ReferenceTraining, options: ReplicasOptions) -> WayRun:
    """Train with the batch divided among `count` replicas, each of which takes one slice.

    Where the slices matter, as to batch normalisation that is not synchronized, the reference takes the same slices.
    """
    if _draws(training):
        raise NotApplicable("each replica draws random numbers of its own")
    size = training.problem.batch.size
    count = options.slices(size)
    slices = sliced_batch(training.problem, count)
    departure = Departure.of(training)
    if options.strategy == "mirrored":
        if size % count:
            raise NotApplicable(f"`fit` begins with no batch that {count} replicas cannot divide evenly: of {size}")
        runs = [result_elsewhere("distributed:mirrored", departure, count, devices=count)]
    else:
        runs = steps_of_workers(departure, configs_of(count))
    against, remarks = _counterpart(training, _OverReplicas(training, slices), runs[0])
    return WayRun(training=against, steps=runs[0], remarks=remarks)


def _draws(training: ReferenceTraining) -> bool:
    """Whether a forward pass draws random numbers: it moves a seed."""
    state = training.problem.state
    seeds = [global_seed(), *(held.variable for held in state.variables if "seed" in held.path)]
    with state.preserved():
        training.reference.execution.run_as_it_is()
        return bool(state.changed(seeds))


class _OverReplicas(ReferenceTraining):
    """The plain loop over slices, with the state as replicas have it: each moves its own, from where the step began.

    TensorFlow reads the first replica's, unless the variable is aggregated.
    """

    def __init__(self, whole: ReferenceTraining, slices: tuple[Slice, ...]) -> None:
        """Train the model of `whole` over the replicas' slices of its batch."""
        problem = replace(whole.problem, slices=slices)
        super().__init__(problem, Reference(problem), beside=whole)

    def gradients(self, tensors: Tensors, problem: Problem) -> Gradients:
        """Return the gradients over all slices, and leave the state that the replicas are read to have."""
        found = super().gradients(tensors, problem)
        moved = problem.state.changed([held.variable for held in problem.state.variables])
        if not moved:
            return found
        values = [self._moved(moved, sliced(tensors, part), problem) for part in problem.slices]
        for variable, of_replicas in zip(moved, zip(*values, strict=True), strict=True):
            mean = variable.aggregation == "mean"
            variable.assign(np.mean(of_replicas, axis=0, dtype=of_replicas[0].dtype) if mean else of_replicas[0])
        return replace(found, state=problem.state.read(split=False))

    def _moved(self, variables: Sequence[Any], tensors: Tensors, problem: Problem) -> list[Any]:
        """Return the values that `variables` have after a forward pass over one slice."""
        problem.state.put_back(variables)
        problem.model(problem.model_inputs(tensors.x), training=problem.training)
        return [np.asarray(variable.value) for variable in variables]


def _counterpart(
    whole: ReferenceTraining, divided: ReferenceTraining, steps: Sequence[Step]
) -> tuple[ReferenceTraining, tuple[str, ...]]:
    """Return the run of the plain loop to hold `steps` against, with remarks.

    It is the one over the slices, which equals that over the whole batch unless something couples the examples; then
    that over the whole batch if the replicas come to the same, as with synchronized batch normalisation.
    """
    remarks = coupling(divided)
    if remarks and _FAR_NEARER * _apart(whole, steps) < _apart(divided, steps):
        return whole, ()
    return divided, remarks


def _apart(training: ReferenceTraining, steps: Sequence[Any]) -> float:
    """Return how far the weights of the first step are from those of the plain loop."""
    keys = [value_key(weight) for weight in training.problem.weights]
    return max((movement(training.steps[0][key], steps[0].tensors[key]) for key in keys), default=0.0)
