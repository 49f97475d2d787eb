"""The gradients that a training step hands to optimizers of its own, beside the reference's at the same weights."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all, is_value
from gradcheck.methods.returned import paths_by_id
from gradcheck.problem.optimizer import SCALED_PRECISION
from gradcheck.problem.problem import TensorKey
from gradcheck.training.steps import value_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport
    from gradcheck.training.handed import HandedStep
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step

    Values = Mapping[TensorKey, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """One step, judged by what it handed to optimizers.

    Attributes:
        number: of the step, from 1.
        handed: what optimizers were handed.
        before: weights and state when it began.
        after: the same when it ended.
        gradients: its loss and state, with the gradients that were handed over.
        expected: the reference's gradients of the weights, at `before`.
        rows: the comparison of the two.
    """

    number: int
    handed: HandedStep
    before: Values
    after: Values
    gradients: Gradients
    expected: Values
    rows: tuple[TensorReport, ...]

    @property
    def failed(self) -> bool:
        """Whether some row is wrong."""
        return any(row.failed for row in self.rows)


@contextmanager
def at(training: ReferenceTraining, values: Values) -> Iterator[tuple[Problem, Reference]]:
    """Yield the problem with weights and state of `values`, and its reference; the loss is scaled as in training."""
    problem = training.problem
    with problem.state.preserved():
        weights, path_of = {weight.path: values[value_key(weight)] for weight in problem.weights}, paths_by_id(problem)
        own = (v for segment in problem.segments for v in segment.trainable_variables if id(v) in path_of)
        for variable in (*(weight.variable for weight in problem.weights), *own):
            variable.assign(weights[path_of[id(variable)]])
        problem.state.write({key.path: value for key, value in values.items() if key.kind == "state"})
        scale = tf.constant(training.initial_scale) if problem.precision == SCALED_PRECISION else None
        here = replace(problem, state=problem.state.retaken(), loss_scale=scale)
        yield here, Reference(here)


def judged_steps(
    training: ReferenceTraining,
    steps: Sequence[Step],
    handed: Sequence[HandedStep],
    policy: TolerancePolicy,
    *,
    noise: bool,
) -> list[Judged]:
    """Compare what each step handed to optimizers with the reference's gradients where that step began.

    A weight that was handed over several times for one update is wrong, whatever the sum of its gradients.
    """
    found = []
    for number, (step, of_step) in enumerate(zip(steps, handed, strict=True), 1):
        before = steps[number - 2].tensors if number > 1 else training.start
        gradients = replace(step.gradients, tensors=of_step.gradients)
        with at(training, before) as (problem, reference):
            where = training.where
            rows = compare_all(problem, reference, gradients, policy, noise=noise, known=where, listed=True)
            expected = {weight.key: as_array(reference.tensors[weight.key]) for weight in problem.weights}
        found.append(
            Judged(
                number=number,
                handed=of_step,
                before=before,
                after=step.tensors,
                gradients=gradients,
                expected=expected,
                rows=tuple(_of_step(row, number, of_step) for row in rows),
            )
        )
    return found


def _of_step(row: TensorReport, number: int, handed: HandedStep) -> TensorReport:
    key = TensorKey(row.kind, row.path)
    row = replace(row, step=number, quantity="value" if is_value(key) else "gradient")
    times = handed.times.get(key)
    if times is None:
        return row
    note = f"handed to an optimizer {times} times in one step"
    return replace(row, status=row.status if row.failed else "mismatch", note=row.note or note)
