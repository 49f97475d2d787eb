"""`compiled`: one compiled training step for batches of several sizes, as a graph or under XLA."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.batch.slices import sliceable
from gradcheck.config.keyed import KeyedError, at
from gradcheck.errors import NotApplicable
from gradcheck.training.steps import Course
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.keras_training import (
    StepRecorder,
    compilation_alone,
    dataset,
    fitted,
    keras_trainee,
    own_training,
)

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import CompiledOptions
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step


def compiled_step(training: ReferenceTraining, options: CompiledOptions) -> WayRun:
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
    run = partial(_fitted, against, each)
    steps = run(jit_compile=xla)
    tried = partial(compilation_alone, against, steps, lambda: run(run_eagerly=True))
    return WayRun(training=against, steps=steps, remarks=remarks, tried=tried)


def _fitted(against: ReferenceTraining, each: int, **how: bool) -> list[Step]:
    """Return the steps of `fit`, compiled or not; `how` are arguments of `compile`."""
    count = against.problem.config.train.steps
    with keras_trainee(against, steps_per_execution=each, **how) as (model, trainee):
        if how.get("jit_compile") and not model.jit_compile:
            raise NotApplicable("Keras does not compile this model under XLA: a layer of it does not support that")
        recorder = StepRecorder(trainee, each=each, with_loss=not own_training(model))
        batches = [dataset(against.course.at(trainee.problem, trainee.optimizer, index)) for index in range(count)]
        # Joined, they have the most general shapes: one signature for all sizes.
        fitted(model, reduce(tf.data.Dataset.concatenate, batches), recorder, epochs=1)
    return recorder.steps


def _sizes(problem: Problem, options: CompiledOptions) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return how many examples each step takes, and a remark if it has to be all of them."""
    whole = problem.batch.size
    if not sliceable(problem.model, problem.batch) or whole == 1:
        return (), (f"compiled for one size alone: the batch, of {whole}, cannot be made smaller",)
    sizes = options.sizes or (whole, max(1, math.ceil(whole / 2)))
    if max(sizes) > whole:
        with at("sizes", sizes.index(max(sizes))):
            raise KeyedError(f"the batch has {whole} examples. Received: {max(sizes)}", code="GC031")
    return sizes, (f"one signature for batches of {' and '.join(map(str, dict.fromkeys(sizes)))}",)
