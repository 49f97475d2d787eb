"""Training parity: a method's training run on a copy of the model, compared with the reference's on the model itself.

Both start from the same weights, state and seeds, and take the same number of steps on the same batch, each with an
optimizer of its own. The tensors after each step are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tensorwise import compared_tensors, excused, failing_keys, first_divergence, record
from gradcheck.comparing.without_effect import zero_as_none
from gradcheck.numerics import NOISE_FACTOR, PRECISIONS, Tolerance, TolerancePolicy, largest, movement, with_spread
from gradcheck.problem.problem import TensorKey
from gradcheck.training.steps import LiveTrainee, value_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport
    from gradcheck.results.tensor import Comparison
    from gradcheck.training.handed import HandedStep
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
        """The tensors of the first failing step and of the last, which a report shows, with the spread of errors."""
        shown = (self.first_failing_step, self.steps)
        return tuple(self._spread_out(tensor) for tensor in self.tensors if tensor.step in shown)

    def _spread_out(self, tensor: TensorReport) -> TensorReport:
        if tensor.step is None or self.judged is not None:  # what was handed over has its spread already
            return tensor
        sides = (_value(values[tensor.step - 1], tensor) for values in (self.training.steps, self.observed))
        return with_spread(tensor, *map(as_array, sides))


def _value(values: Mapping[TensorKey, Any], tensor: TensorReport) -> Any:
    """Return the value of a reported tensor: keys have the quantity of a weight's or slot's value, but no other."""
    plain = TensorKey(tensor.kind, tensor.path)
    found = values.get(plain)
    return values.get(plain._replace(quantity="value"), found) if tensor.quantity == "value" else found


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
    _, steps = taken(training, update, theirs)
    return compared(training, steps, policy, noise=noise, may_idle=may_idle)


def taken(
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
    idle = may_idle and is_idle(training, steps[-1].tensors)
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
        warnings=tuple(dict.fromkeys(warnings_of(steps, idle=idle))),
        remarks=tuple(dict.fromkeys(remark for step in steps for remark in step.gradients.remarks)),
    )


def warnings_of(steps: Sequence[Step], *, idle: bool) -> Iterator[str]:
    """Yield the warnings of all steps; `idle` is whether they left the given optimizer alone."""
    for step in steps:
        yield from step.gradients.warnings
    if steps[-1].unfit is not None:
        yield f"training ended in step {len(steps)}: the gradient of {steps[-1].unfit} does not have its shape"
    if idle:
        yield _IDLE


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


def is_idle(training: ReferenceTraining, tensors: Mapping[TensorKey, Any]) -> bool:
    """Whether weights have changed, and none of the optimizer's variables."""
    moved = {key.kind for key, was in training.start.items() if not _same(was, tensors[key])}
    return moved == {"weight"}


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other))
