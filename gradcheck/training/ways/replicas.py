"""`replicas`: `tf.distribute` divides each batch among replicas of the model."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.comparing.keys import LOSS
from gradcheck.comparing.reference import Reference
from gradcheck.config.keyed import KeyedError, at
from gradcheck.errors import NotApplicable
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import sliced
from gradcheck.keras_private import global_seed
from gradcheck.numerics import movement
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.steps import value_key
from gradcheck.training.ways.accumulate import coupling, sliced_batch
from gradcheck.training.ways.distributed import fit_begins
from gradcheck.training.ways.elsewhere import Departure, result_elsewhere
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.multi_worker import VARIABLE, cluster_around, local_cluster, steps_of_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.config.sections.methods import ReplicasOptions
    from gradcheck.handoff.interface import Gradients, Tensors
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Step

#: How much nearer the run must be to the plain loop over the whole batch, to be held against that one.
_FAR_NEARER = 10.0
_LOOPED = (
    "trained in a loop over `train_step`: Keras's `fit` does not run in several workers (Keras issue 20585), and "
    "begins with no batch of strings, or of uneven parts"
)
_NO_LOSS = "the loss that Keras reports is not compared: it weighs a sum over uneven parts by their sizes"


def replicas(training: ReferenceTraining, options: ReplicasOptions) -> WayRun:
    """Train with the batch divided among replicas, each of which takes one slice.

    Where the slices matter, as to batch normalisation that is not synchronized, the reference takes the same slices.
    """
    problem, cluster = training.problem, None
    count = options.slices(problem.batch.size)
    if options.strategy == "multi_worker":
        given = os.environ.get(VARIABLE)
        cluster = cluster_around(given) if given else local_cluster(count)
        count = cluster.size
    slices = _slices(training, count, asked=options.count is not None)
    departure = Departure.of(training)
    by_fit = cluster is None and fit_begins(problem.batch, count)
    if cluster is None:
        runs = [result_elsewhere("distributed:mirrored", departure, count, by_fit, devices=count)]
    else:
        runs = steps_of_workers(departure, cluster)
    divided = _OverReplicas(training, slices, read=cluster.index if cluster else 0)
    against, remarks = _counterpart(training, divided, runs[0])
    steps, differing = _of_all(against, runs)
    if _mixes_up_sums(slices):
        steps = [replace(step, tensors={key: t for key, t in step.tensors.items() if key != LOSS}) for step in steps]
        remarks = (*remarks, _NO_LOSS)
    return WayRun(training=against, steps=steps, remarks=(*remarks, *differing, *(() if by_fit else (_LOOPED,))))


def _slices(training: ReferenceTraining, count: int, *, asked: bool) -> tuple[Slice, ...]:
    """Return the slices of `count` replicas; `asked` is whether the config asks for so many.

    Raises:
        KeyedError: GC031 if the config asks for more than there are parts of the batch.
        NotApplicable: if the batch cannot be divided, or nobody could say what the replicas should come to.
    """
    problem = training.problem
    if _draws(training):
        raise NotApplicable("each replica draws random numbers of its own")
    if any(term and term.compiled is None and term.reduction is None for term in problem.loss.terms):
        raise NotApplicable("`compile` takes no loss function with an argument sample_weight")
    slices = sliced_batch(problem, count, key="count" if asked else "")
    if len(slices) < count:
        message = f"{count} replicas do not all get a part of {problem.batch.size} examples"
        if asked:
            with at("count"):
                raise KeyedError(message, code="GC031", help="lower it, or change data.batch_size")
        raise NotApplicable(message)
    return _sums_told(problem, slices)


def _sums_told(problem: Problem, slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Return `slices` with a factor of 1 for loss functions of the user's own that add up: others are taken for means.

    A function that returns a scalar does not say which it is.
    """
    own = {index: term.function for index, term in enumerate(problem.loss.terms) if term and term.reduction is None}
    if not own:
        return slices
    tensors = batch_tensors(problem)
    with problem.state.preserved():
        outputs = keras.tree.flatten(problem.model(problem.model_inputs(tensors.x), training=False))

    def adds_up(index: int) -> bool:
        held = (tensors.y[index], outputs[index], tensors.sample_weight and tensors.sample_weight[index])
        parts = [float(own[index](*map(part.of, held))) for part in slices]
        return bool(np.isclose(sum(parts), float(own[index](*held)), rtol=1e-4))

    sums = {index for index in own if adds_up(index)}
    return tuple(
        replace(part, scales=tuple(1.0 if index in sums else scale for index, scale in enumerate(part.scales)))
        for part in slices
    )


def _mixes_up_sums(slices: Sequence[Slice]) -> bool:
    """Whether Keras reports another loss than it trains with: the mean over uneven parts of what is a sum."""
    uneven = len({part.stop - part.start for part in slices}) > 1
    return uneven and any(scale == 1 for part in slices for scale in part.scales)


def _draws(training: ReferenceTraining) -> bool:
    """Whether a forward pass draws random numbers: it moves a seed."""
    state = training.problem.state
    seeds = [global_seed(), *(held.variable for held in state.variables if "seed" in held.path)]
    with state.preserved():
        training.reference.execution.run_as_it_is()
        return bool(state.changed(seeds))


class _OverReplicas(ReferenceTraining):
    """The plain loop over slices, with the state as replicas have it: each moves its own, from where the step began.

    A process reads those of its first replica, unless the variable is aggregated.
    """

    def __init__(self, whole: ReferenceTraining, slices: tuple[Slice, ...], *, read: int) -> None:
        """Train the model of `whole` over the replicas' slices of its batch; `read` is whose state is read."""
        self._read = read
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
            variable.assign(
                np.mean(of_replicas, axis=0, dtype=of_replicas[0].dtype) if mean else of_replicas[self._read]
            )
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


def _apart(training: ReferenceTraining, steps: Sequence[Step], *, at: int = 0) -> float:
    """Return how far the weights after the step `at` are from those of the plain loop."""
    keys = [value_key(weight) for weight in training.problem.weights]
    return max((movement(training.steps[at][key], steps[at].tensors[key]) for key in keys), default=0.0)


def _of_all(training: ReferenceTraining, runs: Sequence[Sequence[Step]]) -> tuple[Sequence[Step], tuple[str, ...]]:
    """Return the run of the first worker; if another's comes to other weights, the one furthest from the plain loop."""
    first = runs[0][-1].tensors
    keys = [key for key in first if key.quantity == "value"]
    others = [
        index
        for index, run in enumerate(runs)
        if not all(np.array_equal(first[key], run[-1].tensors[key], equal_nan=True) for key in keys)
    ]
    if not others:
        return runs[0], ()
    furthest = max(range(len(runs)), key=lambda index: _apart(training, runs[index], at=-1))
    name = f"worker {others[0] + 1} of {len(runs)}"
    said = f"{name} comes to other weights than worker 1: worker {furthest + 1} is compared, the furthest from the loop"
    return runs[furthest], (said,)
