"""`fit`: Keras's own loop, with the `train_step`, the `compute_loss` and the callbacks of the user."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.batch.class_weights import weights_of_classes
from gradcheck.building import user_code
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.config.sections.live import LiveFit
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import schedule_of
from gradcheck.numerics import to_array
from gradcheck.phrases import listed
from gradcheck.problem.optimizer import innermost
from gradcheck.training.handed import HandedStep, recording
from gradcheck.training.steps import Course
from gradcheck.training.ways.handed_over import in_words
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
    from collections.abc import Iterator, Mapping

    from gradcheck.config.sections.methods import FitOptions
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Trainee


def keras_fit(training: ReferenceTraining, options: FitOptions) -> WayRun:
    """Compile and fit the model, one epoch of one batch for each step.

    The plain loop takes over what is set on purpose: the learning rates of callbacks, and class weights as weights of
    examples.
    """
    weighted = training.problem if options.class_weight is None else _weighted(training.problem, options.class_weight)
    model, trainee, recorder = _fitted(training, options)
    course, epochs = _course(trainee.optimizer, recorder), training.problem.config.train.steps
    against = training.over(weighted, course) if course.rates or options.class_weight is not None else training
    return WayRun(
        training=against,
        steps=recorder.steps,
        remarks=tuple(_remarks(model, course, recorder, epochs)),
        tried=partial(
            compilation_alone, against, recorder.steps, lambda: _fitted(training, options, run_eagerly=True)[2].steps
        ),
        said=partial(_said, against),
    )


def _fitted(training: ReferenceTraining, options: FitOptions, **how: bool) -> tuple[keras.Model, Trainee, StepRecorder]:
    """Call `fit`, and return its model, what it trained and the record of it; `how` are arguments of `compile`."""
    with keras_trainee(training, **how) as (model, trainee):
        recorder = StepRecorder(trainee, with_loss=not own_training(model))
        weights = {} if options.class_weight is None else {"class_weight": options.class_weight}
        callbacks, epochs = _callbacks(trainee.problem, options), trainee.problem.config.train.steps
        fitted(model, dataset(trainee.problem), recorder, epochs=epochs, callbacks=callbacks, **weights)
    return model, trainee, recorder


def _said(training: ReferenceTraining) -> str:
    """Run the first step of `fit` once more, eagerly, and say what its optimizer is handed."""
    with keras_trainee(training, run_eagerly=True) as (model, trainee):
        problem, optimizer = trainee.problem, getattr(trainee, "theirs", trainee.optimizer)
        with recording() as recorder:
            fitted(model, dataset(problem), StepRecorder(trainee, with_loss=False), epochs=1)
        calls = [call for call in recorder.taken() if call.optimizer is optimizer]
        if len(calls) != 1:
            return f"the optimizer was called {len(calls)} times in the first step"
        handed = HandedStep.of(problem, calls).gradients
    expected = {weight.path: training.steps[0][weight.key] for weight in training.problem.weights}
    known = {path: to_array(gradient) for path, gradient in expected.items() if gradient is not None}
    return in_words(known, {key.path: to_array(array) for key, array in handed.items() if array is not None})


def _callbacks(problem: Problem, options: FitOptions) -> list[Any]:
    if isinstance(options, LiveFit):
        return list(options.made)
    if options.callbacks is None:
        return []
    with at("callbacks"):
        made = user_code.made_by("callbacks", options.callbacks, problem.base, "GC054", {})
        if not isinstance(made, (list, tuple)) or not all(isinstance(one, keras.callbacks.Callback) for one in made):
            message = f"{options.callbacks} must return a list of Keras callbacks. Received: {type(made).__name__}"
            raise KeyedRunError(message, code="GC055")
    return list(made)


def _course(optimizer: Any, recorder: StepRecorder) -> Course:
    """Return the learning rates, if a callback has changed them on the way."""
    changed = schedule_of(innermost(optimizer)) is None and len(set(recorder.rates)) > 1
    return Course(rates=tuple(recorder.rates)) if changed else Course()


def _weighted(problem: Problem, weights: Mapping[int, float]) -> Problem:
    """Return the problem with a weight for each example by its class.

    Raises:
        NotApplicable: if the examples have weights already, or there are several outputs.
    """
    batch = problem.batch
    if batch.sample_weight is not None or len(batch.y) != 1:
        raise NotApplicable("class_weight is for one output, without a sample_weight")
    of_examples = tf.constant(weights_of_classes(batch.y[0], weights), problem.loss.dtype)
    return replace(problem, batch=replace(batch, sample_weight=(of_examples,)))


def _remarks(model: keras.Model, course: Course, recorder: StepRecorder, epochs: int) -> Iterator[str]:
    own = own_training(model)
    if own:
        yield f"trained by {type(model).__name__}'s own {listed(own)}"
    if course.rates:
        rates = ", ".join(f"{rate:.3g}" for rate in course.rates)
        yield f"callbacks set the learning rate ({rates}), and the plain loop took it over"
    if len(recorder.steps) < epochs:
        yield f"a callback ended training after step {len(recorder.steps)} of {epochs}"
