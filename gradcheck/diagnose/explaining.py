"""The explanation of a mismatch: which known mistake it is, and which side float64 agrees with."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from gradcheck.comparing.second_opinion import second_opinion
from gradcheck.custom_gradients import custom_gradients_of
from gradcheck.diagnose.derivatives import diagnose_derivatives
from gradcheck.diagnose.effort import Effort
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.gradients import diagnose_gradients
from gradcheck.diagnose.other_engines import diagnose_engine
from gradcheck.diagnose.replaying.replays import Replayed
from gradcheck.diagnose.tracing.not_finite import not_finite_derivatives
from gradcheck.diagnose.tracing.parts import parts_apart
from gradcheck.diagnose.training import diagnose_training
from gradcheck.errors import GradcheckError
from gradcheck.methods import METHODS
from gradcheck.problem.estimate import variable_bytes
from gradcheck.problem.problem import TensorKey, run_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.comparing.reference import Reference
    from gradcheck.config.schema import Config
    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.custom_gradients import Watch
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis, TensorReport
    from gradcheck.training.side_by_side import Trained

_SAME_CODE = "in TensorFlow's own float64, which has its registered gradients: this speaks of rounding alone"
#: Gradients of each weight in memory while a mistake is replayed: those of the reference, of the method, of the replay.
_REPLAYED = 3


class Explained(NamedTuple):
    """The explanation of a mismatch, and warnings for steps of the diagnosis that failed."""

    diagnoses: tuple[Diagnosis, ...] = ()
    second_opinion: str | None = None
    warnings: tuple[str, ...] = ()


class Explaining:
    """Explains the mismatches of all methods of a run. A step that fails is a warning."""

    def __init__(self, config: Config, problem: Problem, reference: Reference, watch: Watch) -> None:
        """Compute nothing yet.

        Args:
            config: the methods.
            problem: the problem whose gradients they compute.
            reference: what these were compared with.
            watch: the record of the custom gradients that the model's code defines.
        """
        self._config, self._problem, self._reference, self._watch = config, problem, reference, watch

    @cached_property
    def _replayed(self) -> Replayed:
        """The replays of faults, shared by the diagnoses of all methods."""
        return Replayed(self._problem)

    def gradients(
        self,
        method: MethodConfig,
        rows: Sequence[TensorReport],
        gradients: Gradients,
        *,
        calls: Sequence[DecoratedCall],
        seconds: float,
    ) -> Explained:
        """Explain why the gradients of a method differ.

        Args:
            method: the method.
            rows: the records of its tensors.
            gradients: what it computed.
            calls: the calls of functions with a custom gradient meanwhile, if they are the user's own.
            seconds: how long mistakes may be replayed.
        """
        saved = self._problem.reference_file is not None
        needed = _REPLAYED * variable_bytes([weight.variable for weight in self._problem.weights])
        if saved and needed > self._problem.memory_budget:
            said = f"the gradients of both sides and of a replay take {needed / 2**30:.3g} GiB here"
            return Explained(warnings=(f"not diagnosed: {said}, beyond the memory budget",))
        # Replays are many short runs: where the reference runs they need no messages between processes.
        with nullcontext() if saved else run_here(self._problem.segments):
            if method.info.engine:
                return self._engine(method, rows, gradients)
            if gradients.against:
                return self._against(method, rows, gradients)
            return self._mistakes(rows, gradients, calls=calls, seconds=seconds)

    def _against(self, method: MethodConfig, rows: Sequence[TensorReport], gradients: Gradients) -> Explained:
        """Explain a method that brings its own reference: two ways of differentiating the same functions."""
        effort, second = Effort(), method.method == "hvp"
        rows = tuple(row for row in rows if not gradients.wrong or _key(row) in gradients.wrong)
        measured = bool(gradients.error_bars or gradients.wrong)
        found = self.derivatives(rows, gradients, measured=measured, first_order=not second)
        apart = parts_apart(self._problem, self._reference, effort) if second else ()
        return Explained((*found.diagnoses, *apart), warnings=(*found.warnings, *effort.warnings))

    def _mistakes(
        self, rows: Sequence[TensorReport], gradients: Gradients, *, calls: Sequence[DecoratedCall], seconds: float
    ) -> Explained:
        """Explain a mismatch by known mistakes, and say which side float64 agrees with."""
        effort = Effort()
        own = partial(custom_gradients_of, self._problem, self._watch)
        meant = effort.attempt("the custom gradients", own) if calls else ()
        observed = self._observed(rows, gradients)
        mistakes = partial(
            diagnose_gradients,
            observed,
            seconds=seconds,
            replayed=self._replayed,
            calls=calls,
            meant=meant or (),
            effort=effort,
        )
        diagnoses = effort.attempt("its mistakes", mistakes) or ()
        return Explained(diagnoses, self._second_opinion(observed, effort), tuple(effort.warnings))

    def _engine(self, method: MethodConfig, rows: Sequence[TensorReport], gradients: Gradients) -> Explained:
        """Say where an engine differs, which of three differs if the config has another, and what float64 says."""
        effort, others = Effort(), dict[str, "Gradients"]()
        for other in self._config.methods:
            if other.info.engine and other.method != method.method:
                with suppress(GradcheckError):  # its own check says so
                    others[other.info.sides.candidate] = METHODS[other.method](self._problem, other.options)
        observed = self._observed(rows, gradients)
        step = partial(diagnose_engine, observed, method.info.sides.candidate, others)
        said = self._second_opinion(observed, effort)
        said = said and f"{said} ({_SAME_CODE})"
        return Explained(effort.attempt("the engine", step) or (), said, tuple(effort.warnings))

    def derivatives(
        self, rows: Sequence[TensorReport], gradients: Gradients, *, measured: bool = True, first_order: bool = True
    ) -> Explained:
        """Explain why two ways of differentiating disagree.

        `measured` is whether one of them is a finite difference, `first_order` whether they are of the loss itself.
        """
        effort, observed = Effort(), self._observed(rows, gradients)
        wrong = partial(diagnose_derivatives, observed, self._watch, effort, first_order=first_order)
        step = wrong if measured else partial(not_finite_derivatives, observed, effort)
        return Explained(effort.attempt("the derivatives", step) or (), warnings=tuple(effort.warnings))

    def training(self, method: MethodConfig, trained: Trained, *, seconds: float) -> Explained:
        """Explain by known faults why a training run differs; each may be replayed for `seconds` in all."""
        if method.info.engine:
            return self._engine(method, trained.tensors, trained.gradients)
        effort, way = Effort(), method.method if method.info.way else ""
        step = partial(diagnose_training, trained.training, trained, seconds=seconds, effort=effort, way=way)
        return Explained(effort.attempt("the training", step) or (), warnings=tuple(effort.warnings))

    def _observed(self, rows: Sequence[TensorReport], gradients: Gradients) -> Observed:
        return Observed(problem=self._problem, reference=self._reference, gradients=gradients, rows=rows)

    def _second_opinion(self, observed: Observed, effort: Effort) -> str | None:
        opinion = partial(second_opinion, self._problem, self._reference, observed.arrays, observed.wrong_gradients)
        return effort.attempt("the second opinion", opinion)


def _key(row: TensorReport) -> TensorKey:
    return TensorKey(row.kind, row.path)
