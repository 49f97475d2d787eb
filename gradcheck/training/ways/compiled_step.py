"""`compiled`: one compiled training step for batches of several sizes, as a graph or under XLA."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.batch.slices import sliceable
from gradcheck.catalogue import CATALOGUE
from gradcheck.errors import NotApplicable
from gradcheck.numerics import movement
from gradcheck.results.report import Diagnosis
from gradcheck.training.steps import Course, value_key
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.keras_training import StepRecorder, dataset, fitted, keras_trainee, own_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.config.sections.methods import CompiledOptions
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step

#: How much nearer to the plain loop the eager run must be for the compilation to be the cause.
_NEARER = 0.01


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
    tried = partial(_compilation_alone, against, steps, lambda: run(run_eagerly=True))
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


def _compilation_alone(
    against: ReferenceTraining, steps: Sequence[Step], eagerly: Callable[[], Sequence[Step]]
) -> tuple[Diagnosis, ...]:
    """Return GC606 if the same steps of `fit`, run eagerly, come to what the plain loop comes to."""
    keys = [value_key(weight) for weight in against.problem.weights]
    expected, eager = against.steps[-1], eagerly()[-1].tensors
    compiled_apart, eager_apart = (
        max((movement(expected[key], tensors[key]) for key in keys), default=0.0)
        for tensors in (steps[-1].tensors, eager)
    )
    if eager_apart > _NEARER * compiled_apart:
        return ()
    evidence = (
        f"the same steps of `fit`, run eagerly, end {eager_apart:.1e} from the plain loop, and compiled "
        f"{compiled_apart:.1e}: it is compiling them that changes what they do"
    )
    entry = CATALOGUE["GC606"]
    return (
        Diagnosis(
            code="GC606",
            title=entry.title,
            segment=None,
            layer=None,
            confidence="exact",
            evidence=evidence,
            fix=entry.fix,
        ),
    )


def _sizes(problem: Problem, options: CompiledOptions) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return how many examples each step takes, and a remark if it has to be all of them."""
    whole = problem.batch.size
    if not sliceable(problem.model, problem.batch) or whole == 1:
        return (), (f"compiled for one size alone: the batch, of {whole}, cannot be made smaller",)
    sizes = options.sizes or (whole, max(1, math.ceil(whole / 2)))
    if max(sizes) > whole:
        raise NotApplicable(f"the batch has {whole} examples, and `sizes` asks for {max(sizes)}")
    return sizes, (f"one signature for batches of {' and '.join(map(str, dict.fromkeys(sizes)))}",)
