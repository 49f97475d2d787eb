"""The check of one method: its tensors are compared with the reference, and a mismatch is explained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.comparing.exempt import exempted, judged
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.missing_gradients import why_none
from gradcheck.comparing.on_arrival import OnArrival
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.saved.saved_reference import SavedReference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config.sections.methods import REFERENCE_CHECK, MethodConfig, MethodOptions
from gradcheck.diagnose import Explained, Explaining
from gradcheck.errors import CannotAsk, ConfigError, NotApplicable
from gradcheck.handoff.interface import Gradients
from gradcheck.methods import METHODS
from gradcheck.methods.along_time.time_contributions import contributions_of
from gradcheck.numerics import IN_REFERENCE, PRECISIONS, ToleranceOverride, TolerancePolicy, is_zero
from gradcheck.phrases import some
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import Sides
from gradcheck.session import patience
from gradcheck.session.compared import Compared, unasked
from gradcheck.session.computing import computing
from gradcheck.session.verdict import outcome_of
from gradcheck.session.verification import Verified, is_due, state_of_forward, verify
from gradcheck.training.by_method import train_with
from gradcheck.training.reference_run import ReferenceTraining

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck.config.schema import Config, ToleranceConfig
    from gradcheck.custom_gradients import Watch
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport, TensorReport
    from gradcheck.training.side_by_side import Trained

_REPEATS = "the split hands nothing on, so that this is the reference's own computation, done once more"
_SPARSE = "an optimizer may treat these in another way, and those of this method are dense"
_DRAWS = "compared with an eager reference: XLA draws other random numbers"


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodChecker:
    """The checks of all methods against one reference.

    Attributes:
        config: the config of the methods.
        problem: the problem whose gradients the methods compute.
        reference: the gradients of the whole model under one tape.
        watch: the record of the custom gradients that the model's code defines.
        remarks: notes that every check gets.
        dense: whether the reference is trained on dense gradients.
        compiled: the same checks against the reference under XLA, if `reference` runs eagerly in its place.
    """

    config: Config
    problem: Problem
    reference: Reference
    watch: Watch
    remarks: tuple[str, ...] = ()
    dense: bool = False
    compiled: MethodChecker | None = None

    @cached_property
    def training(self) -> ReferenceTraining | None:
        """The reference's training run; None if the config has no training steps.

        Raises:
            GradcheckError: if the optimizer cannot be built, or the reference cannot be trained.
        """
        if not self.config.train.steps:
            return None
        with computing(self.problem, "training the reference"):
            return ReferenceTraining(self.problem, self.reference, dense=self.dense)

    @cached_property
    def reasons(self) -> Mapping[TensorKey, str]:
        """Why gradients of weights and floating inputs are None or zero in the reference, if known."""
        inputs = [self.problem.input_key(i) for i in range(len(self.problem.batch.x))]
        absent, zero = set(), set()
        for key in (*(weight.key for weight in self.problem.weights), *inputs):
            gradient = self.reference.tensors[key]
            if gradient is None:
                absent.add(key)
            elif is_zero(as_array(gradient)):
                zero.add(key)
        return why_none(self.problem, absent, zero) if absent or zero else {}

    @cached_property
    def _eagerly(self) -> MethodChecker:
        """The same checks against an eager reference."""
        problem = replace(self.problem, execution="eager")
        with computing(problem, "the eager reference"):
            return replace(self, problem=problem, reference=Reference(problem), remarks=(_DRAWS,), compiled=self)

    @cached_property
    def _densely(self) -> MethodChecker:
        """The same checks against a reference that is trained on dense gradients; itself if none is sparse."""
        gradients = self.reference.tensors
        sparse = [w.path for w in self.problem.weights if isinstance(gradients[w.key], tf.IndexedSlices)]
        said = f"trained beside a reference whose sparse gradients ({some(sparse)}) are made dense first: {_SPARSE}"
        return replace(self, dense=True, remarks=(*self.remarks, said)) if sparse else self

    def check(self, method: MethodConfig) -> CheckReport:
        """Compare one method with the reference and explain a mismatch.

        If random layers run under XLA, a method that only runs eagerly is compared with an eager reference: XLA draws
        other random numbers. A candidate that XLA compiles may have those of the reference. A method whose gradients
        are dense is trained beside a reference whose gradients are.

        Raises:
            GradcheckError: if the method cannot run.
        """
        if self.problem.execution == "xla" and method.info.eager and self.problem.draws:
            return self._eagerly.check(method)
        if method.info.dense and self.training is not None and not self.dense and self._densely is not self:
            return self._densely.check(method)
        if method.method not in METHODS and not method.info.way:
            raise ConfigError(
                f"method {method.method} is not available yet", code="GC032", help=f"available: {', '.join(METHODS)}"
            )
        try:
            return self._check(method)
        except CannotAsk as error:
            return unasked(method, str(error))

    def _check(self, method: MethodConfig) -> CheckReport:
        if self.problem.reference_file is not None and not method.info.splits and method.method != "candidate":
            raise NotApplicable(f"it runs the whole model, whose reference is read from {self.problem.reference_file}")
        with computing(self.problem, method.label):
            if self.training is not None:
                trained = train_with(self.training, method, self._policy, noise=self._noise)
                trained = replace(trained, tensors=self._annotated(method, trained.tensors))
                explain = partial(self._explain_training, method, trained)
                return self._judged(method, trained.gradients, trained.tensors, trained=trained).report(explain)
            with self.watch.listening() as calls:
                gradients = self._gradients(method)
            compared = self._compared(method, gradients)
            if self.compiled is not None and compared.outcome != "match" and gradients.calls and gradients.calls.by_xla:
                beside = self.compiled._compared(method, gradients)  # noqa: SLF001 - another of this class
                if beside.outcome == "match":
                    return beside.report(partial(self.compiled._explain, beside, ()))  # noqa: SLF001 - as above
        explain = partial(self._explain, compared, calls if method.method == "candidate" else ())
        return compared.report(explain)

    def _gradients(self, method: MethodConfig) -> Gradients:
        """Return the gradients of a method. A split that runs eagerly does not keep those of weights that agree."""
        compute = METHODS[method.method]
        if not method.info.splits:
            return compute(self.problem, method.options)
        arriving = OnArrival(self.problem, self.reference, self._policy)
        found = compute(replace(self.problem, on_arrival=arriving), method.options)
        return replace(found, seconds=found.seconds - arriving.seconds)

    def verified(self, mode: str) -> tuple[Verified, tuple[CheckReport, ...]]:
        """Verify the reference by finite differences if that is due (see `is_due`).

        If custom gradients are used, the state after it is compared with that of a forward pass alone too: a function
        that is recomputed in the backward pass may assign its state a second time.

        Args:
            mode: `verify_reference` of the config: auto, always or never.

        Returns:
            The result of the trial, and one check of the reference if it is wrong.
        """
        if isinstance(self.reference, SavedReference):
            return Verified(share=self.reference.verified), ()
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
        explain = partial(self._explaining.derivatives, compared.tensors, found)
        return replace(verified, share=None), (compared.report(explain),)

    def _state_of_forward(self) -> Mapping[str, Any]:
        """Return the state after a forward pass alone; an empty mapping if there is no reason to compare it.

        XLA draws other random numbers and slices update the state several times: neither state could be compared.
        """
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
        listed = method.expect == "match"  # what differs in a control is no failure
        rows = compare_all(self.problem, self.reference, gradients, self._policy, noise=self._noise, listed=listed)
        return self._judged(method, gradients, self._annotated(method, rows))

    def _annotated(self, method: MethodConfig, rows: Iterable[TensorReport]) -> tuple[TensorReport, ...]:
        """Mark the rows that the config exempts, and note why a gradient of the reference is None or zero."""
        return tuple(self._with_reason(method, row) for row in exempted(rows, method.exempt))

    def _with_reason(self, method: MethodConfig, row: TensorReport) -> TensorReport:
        reason = self.reasons.get(_key(row)) if _lacks_gradient(method, row) else None
        if row.status != "missing":
            return row if reason is None else replace(row, note=reason)
        side = method.info.sides.reference
        note = row.note if side == Sides().reference else (row.note or "").replace(IN_REFERENCE, f"None by the {side}")
        return replace(row, note=f"{note}: {reason}" if reason else note)

    def _judged(
        self,
        method: MethodConfig,
        gradients: Gradients,
        tensors: tuple[TensorReport, ...],
        *,
        trained: Trained | None = None,
    ) -> Compared:
        """Return the comparison with its outcome.

        A match is inconclusive if nothing is handed on between segments: the method then repeats the reference.
        """
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

    @cached_property
    def _explaining(self) -> Explaining:
        return Explaining(self.config, self.problem, self.reference, self.watch)

    def _explain(self, compared: Compared, calls: Sequence[DecoratedCall]) -> Explained:
        """Explain a mismatch by known faults, and say which side float64 agrees with. A failed step adds a warning."""
        rows, gradients = judged(compared.tensors, compared.gradients)
        return self._explaining.gradients(
            compared.method, rows, gradients, calls=calls, seconds=self._patience(gradients.seconds)
        )

    def _explain_training(self, method: MethodConfig, trained: Trained) -> Explained:
        """Explain by known faults why a training run differs."""
        if trained.way is not None and trained.way.found:
            return Explained(trained.way.found)
        rows, gradients = judged(trained.tensors, trained.gradients)
        evidence = replace(trained, tensors=rows, gradients=gradients)
        return self._explaining.training(method, evidence, seconds=patience.TRAINING * self._patience(trained.seconds))

    def _patience(self, seconds: float) -> float:
        """Return the time limit, in seconds, for the diagnosis of a candidate that took `seconds`."""
        return max(patience.SECONDS, patience.FACTOR * (self.reference.gradients.seconds + seconds))


def _key(row: TensorReport) -> TensorKey:
    return TensorKey(row.kind, row.path)


def _lacks_gradient(method: MethodConfig, row: TensorReport) -> bool:
    """Whether the row is a first-order gradient that is None or zero in the reference.

    Second-order gradients are left out: they are zero for any linear loss.
    """
    if row.kind not in ("weight", "input") or row.dtype not in PRECISIONS or method.method == "hvp":
        return False
    lacking = row.status in ("absent", "dead") or IN_REFERENCE in (row.note or "")
    return lacking and row.quantity != "value"


def tolerance_policy(config: ToleranceConfig) -> TolerancePolicy:
    """Return the config's tolerances as the policy of the comparison."""
    overrides = tuple(
        ToleranceOverride(pattern, rtol=override.rtol, atol=override.atol)
        for pattern, override in config.overrides.items()
    )
    return TolerancePolicy(rtol=config.rtol, atol=None if config.atol == "auto" else config.atol, overrides=overrides)
