"""`compiled`: one compiled training step for batches of several sizes, as a graph or under XLA."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.batch.slices import sliceable
from gradcheck.errors import NotApplicable
from gradcheck.training.steps import Course
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.keras_training import Recorder, compiled_model, dataset, fitted, own_training

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import CompiledOptions
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining


def compiled(training: ReferenceTraining, options: CompiledOptions) -> WayRun:
    """Train by one compiled step, whose signature leaves the length of the batch open, beside the eager plain loop.

    A step that is compiled for one size by mistake, or does in Python what it should do in the graph, differs from it.
    """
    xla = options.execution == "xla"
    if xla and training.problem.draws:
        raise NotApplicable("XLA draws other random numbers than eager code")
    count = training.problem.config.train.steps
    each = min(options.steps_per_execution, count)
    sizes, remarks = _sizes(training.problem, options)
    against = training.over(replace(training.problem, execution="eager", slices=()), Course(sizes=sizes))
    with against.replica.entered() as problem, problem.state.preserved():
        trainee = against.trainee(problem, [weight.variable for weight in problem.weights])
        model = compiled_model(problem, trainee.optimizer, jit_compile=xla, steps_per_execution=each)
        if xla and not model.jit_compile:
            raise NotApplicable("Keras does not compile this model under XLA: a layer of it does not support that")
        recorder = Recorder(trainee, each=each, with_loss=not own_training(model))
        batches = [dataset(against.course.at(problem, trainee.optimizer, index)) for index in range(count)]
        # Joined, they have the most general shapes: one signature for all sizes.
        fitted(model, reduce(tf.data.Dataset.concatenate, batches), recorder, epochs=1)
    return WayRun(training=against, steps=recorder.steps, remarks=remarks)


def _sizes(problem: Problem, options: CompiledOptions) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return how many examples each step takes, and a remark if it has to be all of them."""
    whole = problem.batch.size
    if not sliceable(problem.model, problem.batch) or whole == 1:
        return (), (f"compiled for one size alone: the batch, of {whole}, cannot be made smaller",)
    sizes = options.sizes or (whole, max(1, math.ceil(whole / 2)))
    if max(sizes) > whole:
        raise NotApplicable(f"the batch has {whole} examples, and `sizes` asks for {max(sizes)}")
    return sizes, (f"one signature for batches of {' and '.join(map(str, dict.fromkeys(sizes)))}",)
