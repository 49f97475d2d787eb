"""Training parity: a method's training run on a copy of the model, compared with the reference's on the model itself.

Both start from the same weights, state and seeds, and take the same number of steps on the same batch, each with an
optimizer of its own. The tensors after each step are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.tensorwise import compared_tensors, excused, failing_keys, first_divergence, record
from gradcheck.comparing.without_effect import zero_as_none
from gradcheck.config.sections.live import LiveStep
from gradcheck.config.sections.methods import CandidateOptions
from gradcheck.errors import RunError
from gradcheck.methods import METHODS
from gradcheck.methods.candidate import UserFunction
from gradcheck.numerics import NOISE_FACTOR, PRECISIONS, Tolerance, TolerancePolicy, largest, movement
from gradcheck.phrases import some
from gradcheck.problem.optimizer import innermost
from gradcheck.problem.optimizer_settings import in_words
from gradcheck.training.handed import HandedStep, recording
from gradcheck.training.judged import judged_steps
from gradcheck.training.steps import LiveTrainee, value_key
from gradcheck.training.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.report import TensorReport
    from gradcheck.results.tensor import Comparison
    from gradcheck.training.judged import Judged
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step, Trainee, Update
    from gradcheck.training.ways.interface import WayRun

_DEFAULTS = TolerancePolicy()
_UNMOVED = "has not moved since the start"
_ROUNDING: dict[str, Any] = {
    "status": "inconclusive",
    "note": "the gradient is zero but for rounding, which the optimizer amplifies",
}
_HANDED = (
    "no train.optimizer: compared are the gradients that each step hands to its own optimizers, with the reference's "
    "at the weights that the step begins with"
)
_IDLE = (
    "the candidate does not use the optimizer that it is given: its slots and iteration count are not compared, "
    "only what becomes of the weights"
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The training run of a method, compared with the reference's.

    Attributes:
        training: the reference's run that it was compared with.
        gradients: the method's result in the first step.
        tensors: of every step, in report order.
        steps: the number of steps taken; fewer than configured if a gradient did not fit its weight.
        seconds: of all steps, without the optimizer's part.
        warnings: of any step.
        remarks: of any step.
        observed: the tensors after each step, as NumPy arrays.
        way: the run of a way of training; None for a method that computes gradients.
        handed: what each step handed to optimizers, if the user's own step was recorded.
        own: the optimizers among them that are not the one that the step was given.
        judge: compares what was handed over with the reference's gradients, step by step.
        judged: the result, if the run is judged by it, and not by what becomes of the weights.
    """

    training: ReferenceTraining
    gradients: Gradients
    observed: Sequence[Mapping[TensorKey, Any]]
    tensors: tuple[TensorReport, ...]
    steps: int
    seconds: float
    warnings: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    way: WayRun | None = None
    handed: Sequence[HandedStep] = ()
    own: Sequence[Any] = ()
    judge: Callable[[], Sequence[Judged]] = tuple
    judged: Sequence[Judged] | None = None

    @property
    def first_failing_step(self) -> int | None:
        """The first step with a wrong tensor; None if there is none."""
        return next((tensor.step for tensor in self.tensors if tensor.failed), None)

    @property
    def first_divergence(self) -> str | None:
        """The first wrong tensor of the first failing step."""
        return first_divergence([tensor for tensor in self.tensors if tensor.step == self.first_failing_step])

    @property
    def listed(self) -> tuple[TensorReport, ...]:
        """The tensors of the first failing step and of the last, which a report shows."""
        shown = (self.first_failing_step, self.steps)
        return tuple(tensor for tensor in self.tensors if tensor.step in shown)


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

        trainee, steps = _taken(training, lambda _: update)
    given = {id(trainee.optimizer), id(innermost(trainee.optimizer))}
    every = {id(one): one for step in handed for one in step.optimizers}
    own = [optimizer for key, optimizer in every.items() if key not in given]
    judge = partial(judged_steps, training, steps, handed, policy, noise=noise)
    if "optimizer" not in training.problem.config.train.model_fields_set:
        if own:
            return _by_gradients(training, steps, handed, own, judge())
        if _idle(training, steps[-1].tensors):
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
        warnings=tuple(dict.fromkeys(_warnings(steps, idle=False))),
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


def train_by(
    training: ReferenceTraining,
    update: Callable[[Trainee], Update],
    policy: TolerancePolicy,
    *,
    noise: bool,
    may_idle: bool = False,
    theirs: Any = None,
) -> Trained:
    """Train as `train_with`, by any `update`.

    `may_idle` is whether the update may ignore the optimizer; `theirs` is the user's own that it uses instead, if any.
    """
    _, steps = _taken(training, update, theirs)
    return compared(training, steps, policy, noise=noise, may_idle=may_idle)


def _taken(
    training: ReferenceTraining, update: Callable[[Trainee], Update], theirs: Any = None
) -> tuple[Trainee, list[Step]]:
    """Train the copy of the model by `update`, and return it with its steps."""
    with training.replica.entered() as problem, problem.state.preserved():
        trainee = training.trainee(_without_jacobians(problem), problem.owned_variables)
        if theirs is not None:
            trainee = LiveTrainee(**vars(trainee), theirs=theirs)
        return trainee, list(trainee.steps(update(trainee), training.problem.config.train.steps))


def compared(
    training: ReferenceTraining, steps: Sequence[Step], policy: TolerancePolicy, *, noise: bool, may_idle: bool = False
) -> Trained:
    """Compare the tensors after every step with those of the reference; a step without any is not compared."""
    idle = may_idle and _idle(training, steps[-1].tensors)
    observed = [_without_slots(step.tensors) if idle else step.tensors for step in steps]
    found = [_beside(training, index, tensors, policy) for index, tensors in enumerate(observed)]
    if noise and any(map(failing_keys, found)):  # measured in the reference's own session
        # `strict=False`: the method's run ends early if a gradient does not fit its weight.
        found = [excused(c, floors) for c, floors in zip(found, training.noise_floors, strict=False)]
        found = _undetermined(training, found)
    reports = (
        record(key, training.where[key], comparison, note=training.notes.get(key), step=number)
        for number, of_step in enumerate(found, 1)
        for key, comparison in of_step.items()
    )
    return Trained(
        training=training,
        gradients=steps[0].gradients,
        observed=observed,
        tensors=tuple(reports),
        steps=len(steps),
        seconds=sum(step.gradients.seconds for step in steps),
        warnings=tuple(dict.fromkeys(_warnings(steps, idle=idle))),
        remarks=tuple(dict.fromkeys(remark for step in steps for remark in step.gradients.remarks)),
    )


def _warnings(steps: Sequence[Step], *, idle: bool) -> Iterator[str]:
    for step in steps:
        yield from step.gradients.warnings
    if steps[-1].unfit is not None:
        yield f"training ended in step {len(steps)}: the gradient of {steps[-1].unfit} does not have its shape"
    if idle:
        yield _IDLE


def _update(trainee: Trainee, method: MethodConfig, function: UserFunction | None, moving: frozenset[str]) -> Update:
    """Return one training step by `method`."""
    if function is None:
        return trainee.applying(lambda problem: METHODS[method.method](problem, method.options))
    if function.trains:
        return function.train_step
    return trainee.applying(lambda problem: function.gradients(problem, moving))


def _without_jacobians(problem: Problem) -> Problem:
    """Return `problem` without `report.jacobians`, which are compared at the first weights only."""
    report = problem.config.report.model_copy(update={"jacobians": False})
    return replace(problem, config=problem.config.model_copy(update={"report": report}))


def _beside(
    training: ReferenceTraining, index: int, found: Mapping[TensorKey, Any], policy: TolerancePolicy
) -> dict[TensorKey, Comparison]:
    """Compare the tensors after one step of a method with those of the reference."""
    expected, compute = training.steps[index], compute_dtype(training.problem.precision)

    def tolerance(key: TensorKey, dtype: str) -> Tolerance:
        asked = policy.for_tensor(key.path, dtype or compute, compute)
        if key.quantity is None or dtype not in PRECISIONS or asked != _DEFAULTS.for_tensor(key.path, dtype, compute):
            return asked
        return _of_movement(asked, dtype, training.start[key], expected[key], steps=index + 1)

    compared = compared_tensors(training.where, expected, found, tolerance)
    compared = zero_as_none(training.problem, compared, expected, found)
    for weight in training.problem.weights:
        key = value_key(weight)
        if key in compared and compared[key].status == "exact" and _same(training.start[key], expected[key]):
            compared[key] = replace(compared[key], status="dead", note=_UNMOVED)
    return compared


def _of_movement(asked: Tolerance, dtype: str, start: Any, reference: Any, *, steps: int) -> Tolerance:
    """Return the default tolerance for a trained tensor, relative to its movement rather than to its size.

    A weight of 0.5 that moves by 1e-6 would pass within 1e-5 of itself if it were not updated at all. Each step rounds
    the weight once more on either side.
    """
    rtol, atol = asked.resolve(dtype, movement(start, reference))
    rounding = steps * PRECISIONS[dtype].eps * largest(reference)
    return Tolerance(rtol=0.0, atol=rtol * movement(start, reference) + atol + rounding)


def _undetermined(
    training: ReferenceTraining, compared: Sequence[dict[TensorKey, Comparison]]
) -> list[dict[TensorKey, Comparison]]:
    """Return `compared`, with `inconclusive` for tensors that follow a gradient that is zero up to rounding.

    An example is the gradient of a bias before batch norm, which has no effect. An optimizer may square it, or divide
    it by its own size, and no multiple of a noise floor bounds the result.
    """
    noisy: set[str] = set()
    judged = []
    for step, floors, comparisons in zip(training.steps, training.noise_floors, compared, strict=False):
        noisy |= {w.path for w in training.problem.weights if 0 < largest(step[w.key]) <= NOISE_FACTOR * floors[w.key]}
        keys = {value_key(w) for w in training.problem.weights if w.path in noisy}
        keys |= {slot for slot, weight in training.owners.items() if weight.path in noisy}
        undecided = {key: replace(comparisons[key], **_ROUNDING) for key in keys & {*failing_keys(comparisons)}}
        judged.append(comparisons | undecided)
    return judged


def _without_slots(tensors: Mapping[TensorKey, Any]) -> dict[TensorKey, Any]:
    return {key: tensor for key, tensor in tensors.items() if key.kind != "optimizer"}


def _idle(training: ReferenceTraining, tensors: Mapping[TensorKey, Any]) -> bool:
    """Whether weights have changed, and none of the optimizer's variables."""
    moved = {key.kind for key, was in training.start.items() if not _same(was, tensors[key])}
    return moved == {"weight"}


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other))
