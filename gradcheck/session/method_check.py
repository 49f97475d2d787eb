"""One method beside the reference: what it found compared, judged and, where it is wrong, explained."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.messages import described, gist, user_location
from gradcheck.comparing.exempt import exempted, judged, unmatched, unneeded
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
from gradcheck.numerics import ToleranceOverride, TolerancePolicy
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import PROVEN, CheckReport, ErrorReport
from gradcheck.session import patience
from gradcheck.session.verification import Verified, is_due, state_of_forward, verify
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.side_by_side import train_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.config.schema import Config, ToleranceConfig
    from gradcheck.custom_gradients import Watch
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis, Outcome, TensorReport
    from gradcheck.training.side_by_side import Trained

_REPEATS = "the split hands nothing on, so that this is the reference's own computation, done once more"
_DRAWS = "compared with an eager reference: XLA draws other random numbers"


@dataclass(frozen=True, eq=False, kw_only=True)
class Checker:
    """Holds methods against one reference.

    Attributes:
        config: whose methods they are.
        problem: what is differentiated.
        reference: what is right.
        watch: what saw the model's code make custom gradients.
    """

    config: Config
    problem: Problem
    reference: Reference
    watch: Watch

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
        """What was replayed to explain one method, for the next."""
        return Replayed(self.problem)

    @cached_property
    def _eagerly(self) -> Checker:
        """The same against an eager reference."""
        problem = replace(self.problem, execution="eager")
        with computing(problem, "the eager reference"):
            return replace(self, problem=problem, reference=Reference(problem))

    def check(self, method: MethodConfig) -> CheckReport:
        """One method beside the reference: like beside like, where XLA draws other random numbers.

        Raises:
            GradcheckError: if the method cannot be carried out.
        """
        if self.problem.execution == "xla" and method.info.eager and self.problem.draws:
            check = self._eagerly.check(method)
            return replace(check, notes=(*check.notes, _DRAWS))
        if method.method not in METHODS:
            raise ConfigError(
                f"method {method.method} is not available yet", code="GC032", help=f"available: {', '.join(METHODS)}"
            )
        noise, policy = self.config.tolerance.noise == "auto", tolerance_policy(self.config.tolerance)
        training = self.training
        with computing(self.problem, method.label):
            if training is not None:
                trained = train_with(training, method, policy, noise=noise)
                return self._trained(
                    method, training, replace(trained, tensors=exempted(trained.tensors, method.exempt))
                )
            with self.watch.listening() as calls:
                gradients = METHODS[method.method](self.problem, method.options)
            tensors = compare_all(self.problem, self.reference, gradients, policy, noise=noise)
        check = _compared(method, gradients, exempted(tensors, method.exempt), repeats=self._repeats(method))
        return self._explained(check, gradients, calls if method.method == "candidate" else ())

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
        policy, noise = tolerance_policy(self.config.tolerance), self.config.tolerance.noise == "auto"
        tensors = compare_all(self.problem, self.reference, found, policy, noise=noise)
        check = _compared(MethodConfig(method=REFERENCE_CHECK, options=MethodOptions()), found, tensors, repeats=False)
        if check.as_expected:
            return verified, ()
        effort = Effort()
        observed = Observed(problem=self.problem, reference=self.reference, gradients=found, rows=check.tensors)
        explained = partial(diagnose_derivatives, observed, self.watch, effort)
        diagnoses = effort.attempt("the derivatives", explained) or ()
        return replace(verified, share=None), (replace(check, diagnoses=diagnoses, warnings=tuple(effort.warnings)),)

    def _state_of_forward(self) -> Mapping[str, Any]:
        """The state after a forward pass, where a backward pass may run one more; nothing where that is not alike."""
        compiled_draws = self.problem.execution == "xla" and self.problem.draws
        if not self.watch.used or compiled_draws or self.problem.slices:
            return {}
        return state_of_forward(self.problem)

    def _repeats(self, method: MethodConfig) -> bool:
        """Whether the method would compute the reference once more: without a hand-off it is the same tape."""
        return method.info.hands_on and not self.problem.is_cut

    def _trained(self, method: MethodConfig, training: ReferenceTraining, trained: Trained) -> CheckReport:
        """The check of a training run: judged by every step, shown by the first that fails and the last."""
        check = _compared(method, trained.gradients, trained.tensors, repeats=self._repeats(method))
        check = replace(
            check,
            seconds=trained.seconds,
            first_divergence=trained.first_divergence,
            tensors=trained.listed,
            warnings=(*trained.warnings, *_misspelt(method, trained.tensors)),
            notes=tuple(dict.fromkeys((*check.notes, *trained.remarks))),
            steps=trained.steps,
            first_failing_step=trained.first_failing_step,
        )
        if check.as_expected or check.outcome != "mismatch":
            return check
        effort, seconds = Effort(), patience.TRAINING * self._patience(trained.seconds)
        rows, gradients = judged(trained.tensors, trained.gradients)
        evidence = replace(trained, tensors=rows, gradients=gradients)
        found = effort.attempt(
            "the training", lambda: diagnose_training(training, evidence, seconds=seconds, effort=effort)
        )
        return replace(check, diagnoses=found or (), warnings=(*check.warnings, *effort.warnings))

    def _explained(self, check: CheckReport, gradients: Gradients, calls: Sequence[DecoratedCall]) -> CheckReport:
        """The check with what explains its mismatch. One that is as expected never pays for it."""
        if check.outcome != "mismatch" or check.as_expected:
            return check
        effort = Effort()
        diagnoses, opinion = self._diagnosed(check, gradients, calls, effort)
        warnings = (*check.warnings, *effort.warnings)
        return replace(check, diagnoses=diagnoses, second_opinion=opinion, warnings=warnings)

    def _diagnosed(
        self, check: CheckReport, gradients: Gradients, calls: Sequence[DecoratedCall], effort: Effort
    ) -> tuple[tuple[Diagnosis, ...], str | None]:
        """What explains a mismatch, and which side float64 takes: as far as that can be found out."""
        problem = self.problem
        rows, gradients = judged(check.tensors, gradients)
        if gradients.against:  # without error bars: two ways of differentiating the same functions
            rows = tuple(row for row in rows if not gradients.wrong or _key(row) in gradients.wrong)
            two_ways = Observed(problem=problem, reference=self.reference, gradients=gradients, rows=rows)
            wrong = partial(diagnose_derivatives, two_ways, self.watch, effort)
            measured = bool(gradients.error_bars or gradients.wrong)
            step = wrong if measured else partial(not_finite_derivatives, two_ways, effort)
            found = effort.attempt("the derivatives", step) or ()
            apart = parts_apart(problem, self.reference, effort) if check.method == "hvp" else ()
            return (*found, *apart), None
        own = partial(custom_gradients_of, problem, self.watch)
        meant = effort.attempt("the custom gradients", own) if calls else ()
        observed = Observed(problem=problem, reference=self.reference, gradients=gradients, rows=rows)
        seconds, replayed = self._patience(gradients.seconds), self.replayed
        explained = partial(
            diagnose, observed, seconds=seconds, replayed=replayed, calls=calls, meant=meant or (), effort=effort
        )
        opinion = partial(second_opinion, problem, self.reference, observed.arrays, observed.wrong_gradients)
        return effort.attempt("its mistakes", explained) or (), effort.attempt("the second opinion", opinion)

    def _patience(self, seconds: float) -> float:
        """How long a diagnosis may take, in seconds, where the candidate took so many."""
        return max(patience.SECONDS, patience.FACTOR * (self.reference.gradients.seconds + seconds))


def _key(row: TensorReport) -> TensorKey:
    return TensorKey(row.kind, row.path)


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
        error=ErrorReport.of(error)[0],
    )


def _compared(
    method: MethodConfig, gradients: Gradients, tensors: tuple[TensorReport, ...], *, repeats: bool
) -> CheckReport:
    """The check of one method by what was compared; a match with what `repeats` the reference decides nothing."""
    outcome, notes = _outcome(tensors), gradients.remarks
    if repeats and outcome == "match":
        outcome, notes = "inconclusive", (*notes, _REPEATS)
    needless = unneeded(tensors, method.exempt) if outcome != "inconclusive" else ()
    bound = [tensor for tensor in tensors if not tensor.exempt]
    return CheckReport(
        method=method.label,
        expect=method.expect,
        exempt=method.exempt,
        unneeded=needless,
        outcome=outcome,
        as_expected=outcome in (method.expect, "inconclusive") and not needless,
        loss=math.nan if gradients.loss is None else float(gradients.loss),
        loss_abs_error=_largest(t.max_abs_error for t in bound if t.kind == "loss"),
        max_abs_error=_largest(t.max_abs_error for t in bound if t.kind in GRADIENT_KINDS),
        max_rel_error=_largest(t.max_rel_error for t in bound if t.kind in GRADIENT_KINDS),
        seconds=gradients.seconds,
        rests_on=method.info.rests_on,
        first_divergence=first_divergence(tensors),
        tensors=tensors,
        warnings=(*gradients.warnings, *_misspelt(method, tensors)),
        notes=notes,
        contributions=contributions_of(gradients),
        schedule=gradients.schedule,
    )


def _misspelt(method: MethodConfig, tensors: Sequence[TensorReport]) -> tuple[str, ...]:
    """Warnings of exemptions that exempt nothing."""
    return tuple(f"expect.mismatch: {pattern!r} matches no tensor" for pattern in unmatched(tensors, method.exempt))


def _outcome(tensors: Sequence[TensorReport]) -> Outcome:
    if any(tensor.failed for tensor in tensors):
        return "mismatch"
    undecided = any(tensor.status == "inconclusive" for tensor in tensors)
    return "inconclusive" if undecided and not proves(tensors) else "match"


def proves(tensors: Sequence[TensorReport]) -> bool:
    """Whether some gradient was shown equal that is neither dead nor absent."""
    return any(tensor.kind in GRADIENT_KINDS and tensor.status in PROVEN for tensor in tensors)


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
