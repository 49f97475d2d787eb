"""The run of one config: the reference once, then a check of each method against it, then the verdict."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck import __version__
from gradcheck.building.imports import imported_once
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.saved.gradient_file import GradientFile
from gradcheck.comparing.saved.saved_reference import SavedReference, refuse_training, save
from gradcheck.config.checks.user_files import defined_at
from gradcheck.config.keyed import KeyedRunError, located
from gradcheck.custom_gradients import watching
from gradcheck.engines import asking
from gradcheck.errors import ConfigError, GradcheckError, NotApplicable, RunError
from gradcheck.numerics import euclidean_norm, is_zero
from gradcheck.placement.membership import require_alive
from gradcheck.problem.prepare import prepare, session
from gradcheck.results.json_types import plain_of
from gradcheck.results.origin import environment
from gradcheck.results.report import Coverage, ReferenceReport, RunReport, SegmentReport, Unproven
from gradcheck.session.compared import failed
from gradcheck.session.complex_casts import casts_counted
from gradcheck.session.computing import computing
from gradcheck.session.look import Found
from gradcheck.session.method_check import MethodChecker, tolerance_policy
from gradcheck.session.notes import notes_of, warnings_of
from gradcheck.session.verdict import judge
from gradcheck.training.ways.elsewhere import awaited
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.placement.health import Servers
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport, TensorReport
    from gradcheck.session.configs import CheckOptions
    from gradcheck.session.gradient_files import GradientFiles
    from gradcheck.session.look import Look
    from gradcheck.session.verification import Verified


def run_config(
    loaded: LoadedConfig, options: CheckOptions, stage: Callable[[str], None], look: Look | None = None
) -> RunReport:
    """Run one config in a session of its own and return its report.

    Args:
        loaded: the config.
        options: the options of the check that are not part of the config.
        stage: called with the name of each stage as it begins.
        look: called with the problem after its methods; the checks and warnings it returns are part of the report.

    Raises:
        GradcheckError: if the model or the batch cannot be built, or the reference cannot be computed. An error in a
            method is not raised: it is part of the report.
    """
    with (
        _opened(loaded, options) as file,
        located(loaded),
        session(loaded.config) as servers,
        imported_once() as imports,
        watching() as watch,
        casts_counted() as casts,
    ):
        if any(method.info.elsewhere for method in loaded.config.methods):
            awaited()  # another process loads TensorFlow meanwhile
        for engine in {method.method for method in loaded.config.methods if method.info.engine}:
            asking.awaited(engine)
        problem, reference = _begun(loaded, file, stage)
        checker = MethodChecker(config=loaded.config, problem=problem, reference=reference, watch=watch)
        with computing(problem, "verifying the reference"):
            verified, trial = checker.verified(loaded.config.verify_reference)
        skipped = [*reference.notes, *([verified.note] if verified.note else [])]
        if options.save_gradients is not None:
            stage("saving the reference")
            skipped.append(_saved(loaded, checker, options.save_gradients, verified, wrong=bool(trial)))
        checks = (*trial, *_checks(loaded, checker, options, stage, skipped, servers=servers))
        trainable = 0 if reference.only_rounding else len(problem.weights)
        found = look(problem, watch) if look else Found(trainable)
        with computing(problem, "the reference"):
            warnings = warnings_of(problem, reference, checks, tolerance_policy(loaded.config.tolerance))
            notes = (*notes_of(problem, reference), *skipped)
        checks = (*checks, *found.checks)
        unproven = _unproven(checker) if loaded.config.require == "all" else ()
        verdict, exit_code = judge(checks, trainable=found.trainable, unproven=unproven)
        errors = tuple(check.error for check in checks if check.error)
        return RunReport(
            name=loaded.name,
            config=str(loaded.path),
            seed=problem.seed,
            precision=problem.precision,
            execution=problem.execution,
            verdict=verdict,
            error=errors[0] if errors else None,
            errors=errors,
            exit_code=exit_code,
            segments=segment_reports(problem),
            reference=_reference_report(problem, reference, verified.share),
            coverage=_coverage(problem, checks),
            unproven=unproven,
            checks=checks,
            warnings=(*warnings, *imports.warnings, *found.warnings),
            notes=(*notes, *casts.notes, *found.notes),
        )


def _opened(loaded: LoadedConfig, options: CheckOptions) -> AbstractContextManager[GradientFile | None]:
    """Open the saved reference of a config; None without one."""
    if options.reference is None:
        return nullcontext()
    refuse_training(loaded.config.train.steps)
    return GradientFile(options.reference.of(loaded))


def _begun(loaded: LoadedConfig, file: GradientFile | None, stage: Callable[[str], None]) -> tuple[Problem, Reference]:
    """Build the problem, and compute its reference, or read it from `file`."""
    stage("building")
    with located(loaded):
        problem = prepare(loaded.config, loaded.base, None if file is None else file.path)
    stage("reference")
    with computing(problem, "the reference"):
        return problem, Reference(problem) if file is None else SavedReference(problem, file)


def _saved(
    loaded: LoadedConfig, checker: MethodChecker, files: GradientFiles, verified: Verified, *, wrong: bool
) -> str:
    """Save the reference, and return a note on it; one that finite differences contradict is not saved."""
    path = files.of(loaded)
    if wrong:
        return f"not saved as a reference: {path}; finite differences contradict it"
    about = {
        "config": str(loaded.path),
        "version": __version__,
        "environment": plain_of(environment()),
        "verified": verified.share,
    }
    with computing(checker.problem, "the reference"):
        return save(checker.problem, checker.reference, path, about)


def _checks(
    loaded: LoadedConfig,
    checker: MethodChecker,
    options: CheckOptions,
    stage: Callable[[str], None],
    skipped: list[str],
    *,
    servers: Servers | None,
) -> Iterator[CheckReport]:
    """Yield one check for each method and point; with `fail_fast` the first that is not as expected is the last.

    A method that does not apply to the model has no check: the reason is appended to `skipped`. If one of `servers`
    has failed, no method can run.
    """
    with located(loaded):
        _ = checker.training  # its errors belong to the config, not to the first method that reads it
    methods = [
        (i, method)
        for i, written in enumerate(loaded.config.methods)
        for method in written.at_points
        if options.only is None or method.label in options.only
    ]
    for done, (index, method) in enumerate(methods):
        stage(Stage(method.label, done, len(methods)))
        try:
            check = checker.check(method)
        except GradcheckError as error:  # the other methods still run
            require_alive(servers)
            if isinstance(error, NotApplicable) or (method.method in options.optional and isinstance(error, RunError)):
                skipped.append(f"{method.label} does not apply: {error}")
                continue
            options.on_error(loaded.path, error)
            if isinstance(error, (ConfigError, KeyedRunError)) and error.location is None:
                keys = getattr(error, "keys", ())
                error.location = loaded.locate("methods", index, *((method.method, *keys) if keys else ()))
            check = failed(method, error)
        yield replace(check, asked_at=_asked_at(loaded, index, method))
        if options.fail_fast and not check.as_expected:
            return


def _asked_at(loaded: LoadedConfig, index: int, method: MethodConfig) -> str | None:
    """Return `file:line` of a candidate's function, or of the config where it asks for the method; None for neither."""
    given = (getattr(method.options, name, None) for name in ("factory", "train_step"))
    defined = next((defined_at(target, loaded.base) for target in given if target), None)
    place = defined or loaded.locate("methods", index) or loaded.locate("model")
    if place is None or place.path not in (loaded.path, defined and defined.path):  # an option of the command line
        return None
    return f"{place.path}:{place.line}"


def _unproven(checker: MethodChecker) -> tuple[Unproven, ...]:
    """Return the trainable variables whose reference gradient is None or zero, for a training run in every step."""
    training = checker.training
    steps = [checker.reference.tensors, *(training.steps if training else ())]
    return tuple(
        Unproven(
            path=weight.path,
            status="absent" if steps[0][weight.key] is None else "dead",
            note=checker.reasons.get(weight.key),
        )
        for weight in checker.problem.weights
        if all(is_zero(as_array(step[weight.key])) for step in steps)
    )


def segment_reports(problem: Problem) -> tuple[SegmentReport, ...]:
    """Return the records of the segments."""
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
    norms = [euclidean_norm([as_array(reference.tensors[weight.key])]) for weight in problem.weights]
    return ReferenceReport(
        method="tape",
        loss=float(reference.gradients.loss),
        seconds=reference.gradients.seconds,
        gradient_norm=euclidean_norm([np.array(norms)]),
        verified=verified,
        file=None if problem.reference_file is None else str(problem.reference_file),
    )


def _coverage(problem: Problem, checks: Sequence[CheckReport]) -> Coverage:
    """Count each weight once, by its status in the first check that has it."""
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
