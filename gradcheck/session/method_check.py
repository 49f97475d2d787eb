"""One method beside the reference: what it found compared, judged and, where it is wrong, explained."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.building.messages import described, gist, user_location
from gradcheck.comparing.exempt import exempted, judged, unmatched, unneeded
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.missing_gradients import why_none
from gradcheck.comparing.reference import GRADIENT_KINDS, Reference
from gradcheck.comparing.second_opinion import second_opinion
from gradcheck.comparing.tensorwise import compare_all, first_divergence
from gradcheck.config.sections.methods import REFERENCE_CHECK, MethodConfig, MethodOptions
from gradcheck.custom_gradients import custom_gradients_of
from gradcheck.diagnose import (
    Effort,
    Observed,
    Replayed,
    diagnose,
    diagnose_derivatives,
    diagnose_training,
    not_finite_derivatives,
    parts_apart,
)
from gradcheck.errors import ConfigError, GradcheckError, RunError
from gradcheck.handoff.interface import Gradients
from gradcheck.methods import METHODS
from gradcheck.methods.along_time.time_contributions import contributions_of
from gradcheck.numerics import IN_REFERENCE, PRECISIONS, ToleranceOverride, TolerancePolicy, is_zero
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import CheckReport
from gradcheck.session import patience
from gradcheck.session.verdict import outcome_of
from gradcheck.session.verification import Verified, is_due, state_of_forward, verify
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.side_by_side import train_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gradcheck.config.schema import Config, ToleranceConfig
    from gradcheck.custom_gradients import Watch
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Contribution, Diagnosis, Outcome, TensorReport
    from gradcheck.training.side_by_side import Trained

_REPEATS = "the split hands nothing on, so that this is the reference's own computation, done once more"
_DRAWS = "compared with an eager reference: XLA draws other random numbers"


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodChecker:
    """Compares methods with one reference.

    Attributes:
        config: the config whose methods they are.
        problem: the problem whose gradients they compute.
        reference: the gradients that are right.
        watch: the watch over the custom gradients that the model's code makes.
        remarks: notes on every check.
    """

    config: Config
    problem: Problem
    reference: Reference
    watch: Watch
    remarks: tuple[str, ...] = ()

    @cached_property
    def training(self) -> ReferenceTraining | None:
        """The reference's training run, where the config asks for one.

        Raises:
            GradcheckError: if the optimizer is none, or the reference cannot be trained.
        """
        if not self.config.train.steps:
            return None
        with computing(self.problem, "training the reference"):
            return ReferenceTraining(self.problem, self.reference)

    @cached_property
    def replayed(self) -> Replayed:
        """The replays that explained one method, for the next."""
        return Replayed(self.problem)

    @cached_property
    def reasons(self) -> Mapping[TensorKey, str]:
        """Why weights and floating inputs have no gradient in the reference, where the forward pass shows it."""
        inputs = [self.problem.input_key(i) for i in range(len(self.problem.batch.x))]
        found = {key: self.reference.tensors[key] for key in (*(w.key for w in self.problem.weights), *inputs)}
        absent = {key for key, gradient in found.items() if gradient is None}
        zero = {key for key, gradient in found.items() if gradient is not None and is_zero(as_array(gradient))}
        return why_none(self.problem, absent, zero) if absent or zero else {}

    @cached_property
    def _eagerly(self) -> MethodChecker:
        """The same against an eager reference."""
        problem = replace(self.problem, execution="eager")
        with computing(problem, "the eager reference"):
            return replace(self, problem=problem, reference=Reference(problem), remarks=(_DRAWS,))

    def check(self, method: MethodConfig) -> CheckReport:
        """One method beside the reference: like beside like, where XLA draws other random numbers.

        Raises:
            GradcheckError: if the method cannot be carried out.
        """
        if self.problem.execution == "xla" and method.info.eager and self.problem.draws:
            return self._eagerly.check(method)
        if method.method not in METHODS:
            raise ConfigError(
                f"method {method.method} is not available yet", code="GC032", help=f"available: {', '.join(METHODS)}"
            )
        with computing(self.problem, method.label):
            if self.training is not None:
                trained = train_with(self.training, method, self._policy, noise=self._noise)
                trained = replace(trained, tensors=self._annotated(method, trained.tensors))
                explain = partial(self._explain_training, self.training, trained)
                return self._judged(method, trained.gradients, trained.tensors, trained=trained).report(explain)
            with self.watch.listening() as calls:
                gradients = METHODS[method.method](self.problem, method.options)
            compared = self._compared(method, gradients)
        explain = partial(self._explain, compared, calls if method.method == "candidate" else ())
        return compared.report(explain)

    def verified(self, mode: str) -> tuple[Verified, tuple[CheckReport, ...]]:
        """The reference held against finite differences where that is due, and the check of it where it is wrong.

        Where something is recomputed in the backward pass the state afterwards is that of a forward pass alone.

        Args:
            mode: auto, always or never.
        """
        if not is_due(self.problem, self.reference, self.watch, mode=mode):
            return Verified(), ()
        verified = verify(self.problem)
        found, state = verified.against, self._state_of_forward()
        if found is None and not state:
            return verified, ()
        found = replace(found or Gradients(loss=None, outputs=(), tensors={}, state={}, seconds=0.0), state=state)
        compared = self._compared(MethodConfig(method=REFERENCE_CHECK, options=MethodOptions()), found)
        if compared.as_expected:
            return verified, ()
        explain = partial(self._explain_derivatives, compared.tensors, found)
        return replace(verified, share=None), (compared.report(explain),)

    def _state_of_forward(self) -> Mapping[str, Any]:
        """The state after a forward pass, where a backward pass may run one more; nothing where that is not alike."""
        compiled_draws = self.problem.execution == "xla" and self.problem.draws
        if not self.watch.used or compiled_draws or self.problem.slices:
            return {}
        return state_of_forward(self.problem)

    @property
    def _policy(self) -> TolerancePolicy:
        return tolerance_policy(self.config.tolerance)

    @property
    def _noise(self) -> bool:
        """Whether a noise floor may excuse a difference."""
        return self.config.tolerance.noise == "auto"

    def _compared(self, method: MethodConfig, gradients: Gradients) -> Compared:
        rows = compare_all(self.problem, self.reference, gradients, self._policy, noise=self._noise)
        return self._judged(method, gradients, self._annotated(method, rows))

    def _annotated(self, method: MethodConfig, rows: Iterable[TensorReport]) -> tuple[TensorReport, ...]:
        """The rows with what the config exempts, and why the reference has no gradient."""
        return tuple(self._with_reason(method, row) for row in exempted(rows, method.exempt))

    def _with_reason(self, method: MethodConfig, row: TensorReport) -> TensorReport:
        reason = self.reasons.get(_key(row)) if _lacks_gradient(method, row) else None
        if reason is None:
            return row
        return replace(row, note=f"{row.note}: {reason}" if row.status == "missing" else reason)

    def _judged(
        self,
        method: MethodConfig,
        gradients: Gradients,
        tensors: tuple[TensorReport, ...],
        *,
        trained: Trained | None = None,
    ) -> Compared:
        """The tensors with their outcome: a match of a method without a hand-off is the reference, once more."""
        repeats = method.info.hands_on and not self.problem.is_cut and outcome_of(tensors) == "match"
        return Compared(
            method=method,
            gradients=gradients,
            tensors=tensors,
            trained=trained,
            outcome="inconclusive" if repeats else outcome_of(tensors),
            remarks=(*((_REPEATS,) if repeats else ()), *self.remarks),
            contributions=contributions_of(self.problem, gradients),
        )

    def _explain(self, compared: Compared, calls: Sequence[DecoratedCall]) -> Explained:
        """Which mistakes explain a mismatch, and which side float64 takes: as far as that can be found out."""
        problem, effort = self.problem, Effort()
        rows, gradients = judged(compared.tensors, compared.gradients)
        if gradients.against:  # without error bars: two ways of differentiating the same functions
            rows = tuple(row for row in rows if not gradients.wrong or _key(row) in gradients.wrong)
            measured = bool(gradients.error_bars or gradients.wrong)
            found = self._explain_derivatives(rows, gradients, measured=measured)
            apart = parts_apart(problem, self.reference, effort) if compared.method.label == "hvp" else ()
            return Explained((*found.diagnoses, *apart), warnings=(*found.warnings, *effort.warnings))
        own = partial(custom_gradients_of, problem, self.watch)
        meant = effort.attempt("the custom gradients", own) if calls else ()
        observed = Observed(problem=problem, reference=self.reference, gradients=gradients, rows=rows)
        seconds, replayed = self._patience(gradients.seconds), self.replayed
        explained = partial(
            diagnose, observed, seconds=seconds, replayed=replayed, calls=calls, meant=meant or (), effort=effort
        )
        opinion = partial(second_opinion, problem, self.reference, observed.arrays, observed.wrong_gradients)
        diagnoses = effort.attempt("its mistakes", explained) or ()
        return Explained(diagnoses, effort.attempt("the second opinion", opinion), tuple(effort.warnings))

    def _explain_derivatives(
        self, rows: Sequence[TensorReport], gradients: Gradients, *, measured: bool = True
    ) -> Explained:
        """Explain two ways of differentiating that disagree; `measured` if one of them is a finite difference."""
        effort = Effort()
        observed = Observed(problem=self.problem, reference=self.reference, gradients=gradients, rows=rows)
        wrong = partial(diagnose_derivatives, observed, self.watch, effort)
        step = wrong if measured else partial(not_finite_derivatives, observed, effort)
        return Explained(effort.attempt("the derivatives", step) or (), warnings=tuple(effort.warnings))

    def _explain_training(self, training: ReferenceTraining, trained: Trained) -> Explained:
        """Which mistakes explain a training run that differs."""
        effort, seconds = Effort(), patience.TRAINING * self._patience(trained.seconds)
        rows, gradients = judged(trained.tensors, trained.gradients)
        evidence = replace(trained, tensors=rows, gradients=gradients)
        step = partial(diagnose_training, training, evidence, seconds=seconds, effort=effort)
        diagnoses = effort.attempt("the training", step) or ()
        return Explained(diagnoses, warnings=tuple(effort.warnings))

    def _patience(self, seconds: float) -> float:
        """How long a diagnosis may take, in seconds, where the candidate took so many."""
        return max(patience.SECONDS, patience.FACTOR * (self.reference.gradients.seconds + seconds))


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
        """The exemptions that hide nothing."""
        return unneeded(self.tensors, self.method.exempt) if self.outcome != "inconclusive" else ()

    @property
    def as_expected(self) -> bool:
        """Whether the check is as the config expects it; one that decides nothing is."""
        return self.outcome in (self.method.expect, "inconclusive") and not self.unneeded

    def report(self, explain: Callable[[], Explained]) -> CheckReport:
        """The check's record. `explain` is called for an unexpected mismatch alone: it costs many times the check."""
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


def _key(row: TensorReport) -> TensorKey:
    return TensorKey(row.kind, row.path)


def _lacks_gradient(method: MethodConfig, row: TensorReport) -> bool:
    """Whether the row is a first-order gradient that the reference lacks, or that is zero.

    Of the second order none is missing where a loss is linear.
    """
    if row.kind not in ("weight", "input") or row.dtype not in PRECISIONS or method.method == "hvp":
        return False
    lacking = row.status in ("absent", "dead") or IN_REFERENCE in (row.note or "")
    return lacking and row.quantity != "value"


def failed(method: MethodConfig, error: GradcheckError) -> CheckReport:
    """The check of a method that could not be carried out."""
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


def tolerance_policy(config: ToleranceConfig) -> TolerancePolicy:
    """The config's tolerances as the comparison takes them."""
    overrides = tuple(
        ToleranceOverride(pattern, rtol=override.rtol, atol=override.atol)
        for pattern, override in config.overrides.items()
    )
    return TolerancePolicy(rtol=config.rtol, atol=None if config.atol == "auto" else config.atol, overrides=overrides)


@contextmanager
def computing(problem: Problem, what: str) -> Iterator[None]:
    """Says what failed while computing: the user's own line where there is one, the compilation where that is new.

    Raises:
        RunError: GC056 out of memory, GC059 in a graph or under XLA, else GC053. gradcheck's own errors pass through.
    """
    try:
        yield
    except (GradcheckError, MemoryError):
        raise
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(gist(error)) from error
    except (Exception, SystemExit) as error:
        eager = problem.execution == "eager"
        raise RunError(
            f"{what} raised {described(error)}"
            if eager
            else f"{what}, in {problem.execution}, raised {described(error)}",
            code="GC053" if eager else "GC059",
            location=user_location(error),
            help=None if eager else "execution: eager shows whether the model or its compilation is at fault",
        ) from error
