"""A method's training run: by its gradients, by the user's own step, or by a way of training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.config.sections.live import LiveStep
from gradcheck.config.sections.methods import CandidateOptions
from gradcheck.errors import RunError
from gradcheck.methods import METHODS
from gradcheck.methods.candidate import UserFunction
from gradcheck.phrases import some
from gradcheck.problem.optimizer import innermost
from gradcheck.problem.optimizer_settings import in_words
from gradcheck.training.handed import HandedStep, recording
from gradcheck.training.judged import judged_steps
from gradcheck.training.side_by_side import Trained, compared, is_idle, taken, train_by, warnings_of
from gradcheck.training.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.handoff.interface import Gradients
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.problem import Problem
    from gradcheck.training.judged import Judged
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step, Trainee, Update
    from gradcheck.training.ways.interface import WayRun

_HANDED = (
    "no train.optimizer: compared are the gradients that each step hands to its own optimizers, with the reference's "
    "at the weights that the step begins with"
)


def train_with(training: ReferenceTraining, method: MethodConfig, policy: TolerancePolicy, *, noise: bool) -> Trained:
    """Train the copy of the model by `method`, and compare the tensors after every step.

    Raises:
        ConfigError, RunError: any error of the method; GC051 if the model cannot be built a second time.
    """
    if method.info.way:
        if training.problem.slices:  # a way slices the batch by itself, if at all
            training = training.over(replace(training.problem, slices=()))
        run = WAYS[method.method](training, method.options)
        _require_values(run)
        found = compared(run.training, run.steps, policy, noise=noise)
        return replace(found, way=run, remarks=(*run.remarks, *found.remarks))
    options = method.options
    function = UserFunction(training.problem, options) if isinstance(options, CandidateOptions) else None
    moving = training.moved_by_forward if function and not function.trains else frozenset()

    def update(trainee: Trainee) -> Update:
        return _update(trainee, method, function, moving)

    if function is None or not function.trains:
        return train_by(training, update, policy, noise=noise)
    if isinstance(options, LiveStep):
        return train_by(training, update, policy, noise=noise, may_idle=True, theirs=options.optimizer)
    return _train_step(training, function, policy, noise=noise)


def _train_step(
    training: ReferenceTraining, function: UserFunction, policy: TolerancePolicy, *, noise: bool
) -> Trained:
    """Train by the user's own step, and record what it hands to optimizers.

    If the config names no optimizer, and the step has some of its own, it is judged by the gradients that it hands to
    them; else by the weights.

    Raises:
        RunError: GC055 if the config names no optimizer, and the step updates the weights without any of Keras.
    """
    handed: list[HandedStep] = []
    with recording() as recorder:

        def update(problem: Problem, optimizer: Any) -> Gradients:
            gradients = function.train_step(problem, optimizer)
            handed.append(HandedStep.of(problem, recorder.taken()))
            return gradients

        trainee, steps = taken(training, lambda _: update)
    given = {id(trainee.optimizer), id(innermost(trainee.optimizer))}
    every = {id(one): one for step in handed for one in step.optimizers}
    own = [optimizer for key, optimizer in every.items() if key not in given]
    judge = partial(judged_steps, training, steps, handed, policy, noise=noise)
    if "optimizer" not in training.problem.config.train.model_fields_set:
        if own:
            return _by_gradients(training, steps, handed, own, judge())
        if is_idle(training, steps[-1].tensors):
            raise RunError(
                "the step updates the weights by itself: it calls neither check.optimizer nor another optimizer of "
                "Keras, and the config does not say by what rule the weights should move",
                code="GC055",
                help="add train.optimizer, or update the weights by an optimizer of Keras",
            )
    trained = compared(training, steps, policy, noise=noise, may_idle=True)
    return replace(trained, handed=handed, own=own, judge=judge)


def _by_gradients(
    training: ReferenceTraining,
    steps: Sequence[Step],
    handed: Sequence[HandedStep],
    own: Sequence[Any],
    judged: Sequence[Judged],
) -> Trained:
    """Return a run that is judged by the gradients that its steps handed to optimizers of their own."""
    names = some([in_words(optimizer) for optimizer in own])
    return Trained(
        training=training,
        gradients=judged[0].gradients,
        observed=[step.tensors for step in steps],
        tensors=tuple(row for step in judged for row in step.rows),
        steps=len(steps),
        seconds=sum(step.gradients.seconds for step in steps),
        warnings=tuple(dict.fromkeys(warnings_of(steps, idle=False))),
        remarks=(f"{_HANDED}: {names}",),
        handed=handed,
        own=own,
        judge=lambda: judged,
        judged=judged,
    )


def _require_values(run: WayRun) -> None:
    """Raise if weights or variables of the optimizer are missing from a step that was looked at: they must be there."""
    expected = run.training.start.keys()
    for number, step in enumerate(run.steps, 1):
        missing = [key.path for key in expected - step.tensors.keys()]
        if step.tensors and missing:
            raise RunError(f"step {number} came back without {some(missing)}: the model has other names there")


def _update(trainee: Trainee, method: MethodConfig, function: UserFunction | None, moving: frozenset[str]) -> Update:
    """Return one training step by `method`."""
    if function is None:
        return trainee.applying(lambda problem: METHODS[method.method](problem, method.options))
    if function.trains:
        return function.train_step
    return trainee.applying(lambda problem: function.gradients(problem, moving))
