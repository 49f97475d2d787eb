"""A method beside the reference, judged, and the record that a report shows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.comparing.exempt import unmatched, unneeded
from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.comparing.tensorwise import first_divergence
from gradcheck.results.report import CheckReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.errors import GradcheckError
    from gradcheck.handoff.interface import Gradients
    from gradcheck.results.report import Contribution, Diagnosis, Outcome, TensorReport
    from gradcheck.training.side_by_side import Trained


class Explained(NamedTuple):
    """What explains a mismatch, and the warnings of what could not be found out."""

    diagnoses: tuple[Diagnosis, ...] = ()
    second_opinion: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A method beside the reference, judged.

    Attributes:
        method: the method as the config has it.
        gradients: its gradients; of a training run those of the first step.
        tensors: every tensor compared, of every step, in report order.
        trained: its training run, where it was trained.
        outcome: what the tensors come to.
        remarks: notes on the check as a whole, beside those of the method itself.
        contributions: the part of each chunk of a time split.
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
        """The exemptions that no difference needs."""
        return unneeded(self.tensors, self.method.exempt) if self.outcome != "inconclusive" else ()

    @property
    def as_expected(self) -> bool:
        """Whether the check is as the config expects it; one that decides nothing is."""
        return self.outcome in (self.method.expect, "inconclusive") and not self.unneeded

    def report(self, explain: Callable[[], Explained]) -> CheckReport:
        """Return the check's record. `explain`, which costs many times the check, is called for a mismatch alone."""
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
            loss_abs_error=_largest(t.max_abs_error for t in bound if t.kind == "loss"),
            max_abs_error=_largest(t.max_abs_error for t in bound if t.kind in GRADIENT_KINDS),
            max_rel_error=_largest(t.max_rel_error for t in bound if t.kind in GRADIENT_KINDS),
            seconds=trained.seconds if trained else gradients.seconds,
            rests_on=method.info.rests_on,
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
        )


def failed(method: MethodConfig, error: GradcheckError) -> CheckReport:
    """Return the check of a method that could not be carried out."""
    return CheckReport(
        method=method.label,
        expect=method.expect,
        exempt=method.exempt,
        outcome="error",
        as_expected=False,
        loss=math.nan,
        loss_abs_error=math.nan,
        max_abs_error=math.nan,
        max_rel_error=math.nan,
        seconds=math.nan,
        rests_on=method.info.rests_on,
        error=error.mistakes[0],
    )


def _largest(values: Any) -> float:
    """The largest of the finite `values`; NaN for none."""
    return max((value for value in values if math.isfinite(value)), default=math.nan)
