"""One config -> one run report: the reference once, then each method beside it, then the verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.building.imports import imported_once
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.missing_gradients import why_none
from gradcheck.comparing.reference import Reference
from gradcheck.config.keyed import located
from gradcheck.config.sections.methods import METHODS
from gradcheck.custom_gradients import watching
from gradcheck.errors import ConfigError, ExitCode, GradcheckError, NotApplicable, RunError, most_serious
from gradcheck.numerics import IN_REFERENCE, PRECISIONS, euclidean_norm, is_zero
from gradcheck.problem.prepare import prepare, session
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import CheckReport, Coverage, ReferenceReport, RunReport, SegmentReport, Unproven
from gradcheck.session.method_check import Checker, computing, failed, proves, tolerance_policy
from gradcheck.session.notes import notes_of, warnings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.config.load import LoadedConfig
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport, Verdict
    from gradcheck.session.configs import CheckOptions


def run_config(loaded: LoadedConfig, options: CheckOptions, stage: Callable[[str], None]) -> RunReport:
    """Runs one config in a session of its own; `stage` is told what is being worked on.

    Raises:
        GradcheckError: if the model, the data or the reference cannot be had. What goes wrong in a method is part of
            the report.
    """
    with session(loaded.config), imported_once() as imports, watching() as watch:
        stage("building")
        with located(loaded):
            problem = prepare(loaded.config, loaded.base)
        stage("reference")
        with computing(problem, "the reference"):
            reference = Reference(problem)
        checker = Checker(config=loaded.config, problem=problem, reference=reference, watch=watch)
        skipped: list[str] = []
        with computing(problem, "verifying the reference"):
            verified, trial = checker.verified(loaded.config.verify_reference)
        skipped += [verified.note] if verified.note else []
        checks = (*trial, *_checks(loaded, checker, options, stage, skipped))
        reasons = _reasons(problem, checks)
        checks = tuple(_explained(check, reasons) for check in checks)
        unproven = _unproven(checker, reasons) if loaded.config.require == "all" else ()
        report = _report(loaded, problem, reference, checks, verified=verified.share, unproven=unproven)
        policy = tolerance_policy(loaded.config.tolerance)
        with computing(problem, "the reference"):
            warnings = warnings_of(problem, reference, checks, policy)
            warnings = (*warnings, *imports.warnings)
            return replace(report, warnings=warnings, notes=(*notes_of(problem, reference), *skipped))


def _reasons(problem: Problem, checks: Sequence[CheckReport]) -> Mapping[TensorKey, str]:
    """Why weights and floating inputs have no gradient in some check, where the forward pass shows it."""
    rows = [t for check in checks for t in check.of_kind("weight", "input") if _may_be_explained(check, t)]
    zero = {TensorKey(t.kind, t.path) for t in rows if t.status == "dead"}
    absent = {TensorKey(t.kind, t.path) for t in rows if t.status != "dead"}
    return why_none(problem, absent, zero) if absent or zero else {}


def _explained(check: CheckReport, reasons: Mapping[TensorKey, str]) -> CheckReport:
    """The check with `reasons` as the notes of its gradients."""

    def noted(tensor: TensorReport) -> TensorReport:
        reason = reasons.get(TensorKey(tensor.kind, tensor.path)) if _may_be_explained(check, tensor) else None
        if reason and tensor.status == "missing":
            reason = f"{tensor.note}: {reason}"
        return replace(tensor, note=reason or tensor.note)

    return replace(check, tensors=tuple(map(noted, check.tensors))) if reasons else check


def _may_be_explained(check: CheckReport, tensor: TensorReport) -> bool:
    """Whether it is a first-order gradient that the reference lacks, or that is zero.

    Of the second order none is missing where a loss is linear.
    """
    lacking = tensor.status in ("absent", "dead") or IN_REFERENCE in (tensor.note or "")
    first_order = not check.method.startswith("hvp") and tensor.quantity != "value"
    return first_order and lacking and tensor.dtype in PRECISIONS


def _checks(
    loaded: LoadedConfig, checker: Checker, options: CheckOptions, stage: Callable[[str], None], skipped: list[str]
) -> Iterator[CheckReport]:
    """One report a method and point, up to the first that is not as expected where that is enough.

    What does not apply has no check; `skipped` is told why.
    """
    with located(loaded):
        _ = checker.training
    methods = [(i, method) for i, written in enumerate(loaded.config.methods) for method in written.at_points]
    for index, method in methods:
        stage(method.label)
        try:
            check = checker.check(method)
        except GradcheckError as error:  # one method's failure leaves the others their results
            if isinstance(error, NotApplicable) or (method.method in options.optional and isinstance(error, RunError)):
                skipped.append(f"{method.label} does not apply: {error}")
                continue
            options.on_error(loaded.path, error)
            if isinstance(error, ConfigError) and error.location is None:
                error.location = loaded.locate("methods", index)
            check = failed(method, error)
        yield check
        if options.fail_fast and not check.as_expected:
            return


def _report(
    loaded: LoadedConfig,
    problem: Problem,
    reference: Reference,
    checks: tuple[CheckReport, ...],
    *,
    verified: float | None,
    unproven: tuple[Unproven, ...],
) -> RunReport:
    trainable = 0 if reference.only_rounding else len(problem.weights)
    verdict, exit_code = judge(checks, trainable=trainable, unproven=unproven)
    return RunReport(
        name=loaded.name,
        config=str(loaded.path),
        seed=problem.seed,
        precision=problem.precision,
        execution=problem.execution,
        verdict=verdict,
        error=next((check.error for check in checks if check.error), None),
        errors=tuple(check.error for check in checks if check.error),
        exit_code=exit_code,
        segments=segment_reports(problem),
        reference=_reference_report(problem, reference, verified),
        coverage=_coverage(problem, checks),
        unproven=unproven,
        checks=checks,
    )


def judge(
    checks: Sequence[CheckReport], *, trainable: int, unproven: Sequence[Unproven] = ()
) -> tuple[Verdict, ExitCode]:
    """The verdict over all checks of a run, and the exit code that says the same.

    A control that mismatches as expected is proof too: the check has been seen to fail. Any of `unproven` fails.
    """
    codes = [
        ExitCode(check.error.exit_code) if check.error else ExitCode.MISMATCH
        for check in checks
        if not check.as_expected
    ]
    codes += [ExitCode.MISMATCH] if unproven else []
    if codes:
        worst = most_serious(codes)
        return ("fail" if worst is ExitCode.MISMATCH else "error"), worst
    controls = any(check.expect == "mismatch" and check.outcome == "mismatch" for check in checks)
    open_ = undecided(checks)
    proven = any(check.outcome == "match" and proves(_beside(check, open_)) for check in checks)
    if trainable and (controls or proven):
        return "pass", ExitCode.OK
    return "vacuous", ExitCode.VACUOUS


def undecided(checks: Sequence[CheckReport]) -> frozenset[str]:
    """The tensors that finite differences of the batch as it is were asked about, and did not decide."""
    return frozenset(t.path for c in checks if c.method == "numeric" for t in c.tensors if t.status == "inconclusive")


def _beside(check: CheckReport, open_: frozenset[str]) -> Sequence[TensorReport]:
    """What of a check may count as proven beside what finite differences left `open_`.

    A method that differentiates by the gradients on trial proves nothing there.
    """
    registered = check.method in METHODS and METHODS[check.method].registered
    return [t for t in check.tensors if not registered or t.path not in open_]


def _unproven(checker: Checker, reasons: Mapping[TensorKey, str]) -> tuple[Unproven, ...]:
    """The trainable variables whose gradient in the reference is absent or dead, in training in every step."""
    training = checker.training
    steps = [checker.reference.tensors, *(training.steps if training else ())]
    return tuple(
        Unproven(
            path=weight.path,
            status="absent" if steps[0][weight.key] is None else "dead",
            note=reasons.get(weight.key),
        )
        for weight in checker.problem.weights
        if all(is_zero(as_array(step[weight.key])) for step in steps)
    )


def segment_reports(problem: Problem) -> tuple[SegmentReport, ...]:
    """The segments as reports show them."""
    return tuple(
        SegmentReport(
            index=segment.plan.index,
            name=segment.plan.name,
            layers=tuple(problem.graph.calls[call].name for call in segment.plan.calls),
            parameters=sum(math.prod(v.shape) for v in segment.weights),
            inputs=tuple(segment.input_names),
            outputs=tuple(segment.output_names),
        )
        for segment in problem.segments
    )


def _reference_report(problem: Problem, reference: Reference, verified: float | None) -> ReferenceReport:
    gradients = [as_array(reference.tensors[weight.key]) for weight in problem.weights]
    return ReferenceReport(
        method="tape",
        loss=float(reference.gradients.loss),
        seconds=reference.gradients.seconds,
        gradient_norm=euclidean_norm(gradients),
        verified=verified,
    )


def _coverage(problem: Problem, checks: Sequence[CheckReport]) -> Coverage:
    """Counts each weight once, by what the first check that supplies it found."""
    found: dict[str, TensorReport] = {}
    for check in checks:
        for tensor in check.of_kind("weight"):
            found.setdefault(tensor.path, tensor)
    statuses = [tensor.status for tensor in found.values()]
    return Coverage(
        trainable=len(problem.weights),
        compared=len(statuses) - statuses.count("absent"),
        absent=statuses.count("absent"),
        dead=statuses.count("dead"),
    )
