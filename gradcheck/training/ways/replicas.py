"""`replicas`: `tf.distribute` divides each batch among replicas of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.errors import NotApplicable
from gradcheck.keras_private import global_seed
from gradcheck.numerics import movement
from gradcheck.training.steps import value_key
from gradcheck.training.ways.accumulate import coupling, sliced_batch
from gradcheck.training.ways.elsewhere import Departure, result_elsewhere
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.keras_training import Recorder, compiled_model, dataset, fitted, own_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.config.sections.methods import ReplicasOptions
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step

#: How much nearer the run must be to the plain loop over the whole batch, to be held against that one.
_FAR_NEARER = 10.0


def replicas(training: ReferenceTraining, options: ReplicasOptions) -> WayRun:
    """Train with the batch divided among `count` replicas, each of which takes one slice.

    Where the slices matter, as to batch normalisation that is not synchronized, the reference takes the same slices.
    """
    if _draws(training):
        raise NotApplicable("each replica draws random numbers of its own")
    count = options.slices(training.problem.batch.size)
    slices = sliced_batch(training.problem, count)
    steps = result_elsewhere("replicas:mirrored", Departure.of(training), count, devices=count)
    against, remarks = _counterpart(training, training.over(replace(training.problem, slices=slices)), steps)
    return WayRun(training=against, steps=steps, remarks=remarks)


def mirrored(departure: Departure, count: int, stage: Callable[[str], None]) -> list[Step]:
    """Train under `MirroredStrategy` over `count` devices of this process, and return what each step left behind."""
    stage("training on several devices")
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus if len(gpus) >= count else tf.config.list_logical_devices("CPU")
    return trained(tf.distribute.MirroredStrategy([device.name for device in devices[:count]]), departure)


def trained(strategy: tf.distribute.Strategy, departure: Departure) -> list[Step]:
    """Train by `fit`, one batch an epoch, which Keras divides among the replicas of `strategy`."""
    with departure.entered(strategy.scope()) as problem:
        trainee = departure.trainee(problem)
        model = compiled_model(problem, trainee.optimizer, jit_compile=False)
        recorder = Recorder(trainee, with_loss=not own_training(model))
        fitted(model, dataset(problem), recorder, epochs=departure.config.train.steps)
    return recorder.steps


def _draws(training: ReferenceTraining) -> bool:
    """Whether a forward pass draws random numbers: it moves a seed."""
    state = training.problem.state
    seeds = [global_seed(), *(held.variable for held in state.variables if "seed" in held.path)]
    with state.preserved():
        training.reference.execution.run_as_it_is()
        return bool(state.changed(seeds))


def _counterpart(
    whole: ReferenceTraining, sliced: ReferenceTraining, steps: Sequence[Step]
) -> tuple[ReferenceTraining, tuple[str, ...]]:
    """Return the run of the plain loop to hold `steps` against, with remarks.

    It is the one over the slices, which equals that over the whole batch unless something couples the examples; then
    that over the whole batch if the replicas come to the same, as with synchronized batch normalisation.
    """
    remarks = coupling(sliced)
    if remarks and _FAR_NEARER * _apart(whole, steps) < _apart(sliced, steps):
        return whole, ()
    return sliced, remarks


def _apart(training: ReferenceTraining, steps: Sequence[Any]) -> float:
    """Return how far the weights of the first step are from those of the plain loop."""
    keys = [value_key(weight) for weight in training.problem.weights]
    return max((movement(training.steps[0][key], steps[0].tensors[key]) for key in keys), default=0.0)
