"""The comparison of one method with the reference, its outcome, and its record in a report."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck.comparing.exempt import unmatched, unneeded
from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.comparing.tensorwise import first_divergence
from gradcheck.diagnose import Explained
from gradcheck.numerics import largest_finite
from gradcheck.results.by_step import StepReport
from gradcheck.results.report import CheckReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.errors import GradcheckError
    from gradcheck.handoff.interface import Gradients
    from gradcheck.results.contribution import Contribution
    from gradcheck.results.report import Kind, Outcome, Quantity, TensorReport
    from gradcheck.training.side_by_side import Trained


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The comparison of one method with the reference, and its outcome.

    Attributes:
        method: the method with its options in the config.
        gradients: its gradients; for a training run those of the first step.
        tensors: the records of all compared tensors, of every step, in report order.
        trained: its training run, or None.
        outcome: the outcome of the check, by its tensors.
        remarks: notes on the check as a whole, beside those in `gradients`.
        contributions: the part of each weight's gradient that each chunk of a time split adds.
    """

    method: MethodConfig
    gradients: Gradients
    tensors: tuple[TensorReport, ...]
    trained: Trained | None
    outcome: Outcome
    remarks: tuple[str, ...]
    contributions: tuple[Contribution, ...]

    @cached_property
    def unneeded(self) -> tuple[str, ...]:
        """The exemption patterns whose tensors all match."""
        return unneeded(self.tensors, self.method.exempt) if self.outcome != "inconclusive" else ()

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is the one that the config expects; an inconclusive one always is."""
        return self.outcome in (self.method.expect, "inconclusive") and not self.unneeded

    def report(self, explain: Callable[[], Explained]) -> CheckReport:
        """Return the record of the check. `explain`, many times slower than the check, is called only if it fails."""
        explained = explain() if self.outcome == "mismatch" and not self.as_expected else Explained()
        method, trained, gradients = self.method, self.trained, self.gradients
        warnings = trained.warnings if trained else gradients.warnings
        misspelt = [f"expect.mismatch: {p!r} matches no tensor" for p in unmatched(self.tensors, method.exempt)]
        remarks = (*gradients.remarks, *self.remarks, *(trained.remarks if trained else ()))
        bound = [tensor for tensor in self.tensors if not tensor.exempt]
        return CheckReport(
            method=method.label,
            expect=method.expect,
            exempt=method.exempt,
            unneeded=self.unneeded,
            outcome=self.outcome,
            as_expected=self.as_expected,
            loss=math.nan if gradients.loss is None else float(gradients.loss),
            loss_abs_error=largest_finite(t.max_abs_error for t in bound if t.kind == "loss"),
            max_abs_error=largest_finite(t.max_abs_error for t in bound if t.kind in GRADIENT_KINDS),
            max_rel_error=largest_finite(t.max_rel_error for t in bound if t.kind in GRADIENT_KINDS),
            seconds=trained.seconds if trained else gradients.seconds,
            rests_on=method.info.rests_on,
            sides=method.info.sides,
            first_divergence=trained.first_divergence if trained else first_divergence(self.tensors),
            tensors=trained.listed if trained else self.tensors,
            diagnoses=explained.diagnoses,
            second_opinion=explained.second_opinion,
            warnings=(*warnings, *misspelt, *explained.warnings),
            notes=tuple(dict.fromkeys(remarks)),
            contributions=self.contributions,
            schedule=gradients.schedule,
            steps=trained.steps if trained else 0,
            first_failing_step=trained.first_failing_step if trained else None,
            by_step=_by_step(self.tensors) if trained else (),
        )


def _by_step(tensors: Sequence[TensorReport]) -> tuple[StepReport, ...]:
    """Return how far the two sides of a training run are apart after each step."""
    rows: dict[int, list[TensorReport]] = {}
    for tensor in tensors:
        rows.setdefault(tensor.step or 0, []).append(tensor)
    return tuple(_of_step(step, found) for step, found in sorted(rows.items()))


def _of_step(step: int, rows: Sequence[TensorReport]) -> StepReport:
    def error(*kinds: Kind, quantity: Quantity = "value") -> float:
        bound = (row for row in rows if not row.exempt and row.status != "inconclusive")
        return largest_finite(row.max_rel_error for row in bound if row.kind in kinds and row.quantity == quantity)

    return StepReport(
        step=step,
        compared=len(rows),
        failing=sum(row.failed for row in rows),
        gradients=error("weight", "input", "boundary", quantity="gradient"),
        weights=error("weight"),
        optimizer=error("optimizer"),
        state=error("state"),
        outputs=error("output"),
        loss=error("loss"),
    )


def failed(method: MethodConfig, error: GradcheckError) -> CheckReport:
    """Return the record of a method that raised `error`."""
    return replace(_without_tensors(method), outcome="error", as_expected=False, error=error.mistakes[0])


def unasked(method: MethodConfig, reason: str) -> CheckReport:
    """Return the record of an engine that cannot run the model: inconclusive, for this reason."""
    return replace(_without_tensors(method), notes=(f"{method.label} cannot be asked: {reason}",))


def _without_tensors(method: MethodConfig) -> CheckReport:
    """Return the record of a method that has computed nothing, which is inconclusive."""
    return CheckReport(
        method=method.label,
        expect=method.expect,
        exempt=method.exempt,
        outcome="inconclusive",
        as_expected=True,
        loss=math.nan,
        loss_abs_error=math.nan,
        max_abs_error=math.nan,
        max_rel_error=math.nan,
        seconds=math.nan,
        rests_on=method.info.rests_on,
        sides=method.info.sides,
    )
