"""Mutation of one config: every fault is injected into the correct split at every place; which are caught and named?

There are two passes over the faults: the first compares each with the reference, the second diagnoses the caught ones,
and by then knows the fingerprints of all others: it computes gradients again only where two of them are alike.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.building.imports import imported_once
from gradcheck.catalogue import CATALOGUE
from gradcheck.comparing.tensorwise import first_divergence
from gradcheck.config.findings import Finding
from gradcheck.config.keyed import located
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.custom_gradients import watching
from gradcheck.diagnose import Observed, diagnose
from gradcheck.errors import ConfigErrors, ExitCode
from gradcheck.faults import FAULTS
from gradcheck.faults.training import TRAINING_FAULTS
from gradcheck.numerics import NOISE_FACTOR
from gradcheck.phrases import some
from gradcheck.problem.prepare import prepare, session
from gradcheck.results.mutation import NOT_NAMED, NOT_TRIED, FaultReport, MutationReport
from gradcheck.results.report import FAILING
from gradcheck.session.complex_casts import casts_counted
from gradcheck.session.computing import computing
from gradcheck.session.mutation.bench import Bench, by_key, excluded
from gradcheck.session.mutation.margin import margin
from gradcheck.session.mutation.named_by import diagnosed
from gradcheck.session.mutation.training import mutate_training
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.faults.injection import Replay
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import TensorKey
    from gradcheck.results.report import TensorReport, Verdict
    from gradcheck.results.tensor import Comparison

#: The share of the limit for injecting; the rest is for the diagnosis of caught faults.
INJECTING = 0.75
#: Why a fault has no place in a model, by code. A fault of a split comes before one of a training loop with its code.
NOWHERE = {fault.code: fault.nowhere for fault in TRAINING_FAULTS} | {fault.code: fault.nowhere for fault in FAULTS}


def mutate(loaded: LoadedConfig, seconds: float, stage: Callable[[str], None]) -> MutationReport:
    """Inject every fault into the model of `loaded`, in a session of its own, and return the report.

    Reference and faults run eagerly whatever `execution` the config has: otherwise they would not be comparable.

    Args:
        loaded: the config; its methods are not used.
        seconds: the approximate time limit; faults left then are reported as not tried, or not named.
        stage: called with a line of progress.

    Raises:
        GradcheckError: if there is no split (GC026), the model or the batch cannot be built, or the reference cannot be
            computed.
    """
    start = time.monotonic()
    _needs_split(loaded)
    with session(loaded.config), imported_once(), watching(), casts_counted():
        stage("building")
        with located(loaded):
            problem = replace(prepare(loaded.config, loaded.base), execution="eager")
        bench = Bench(problem, loaded.config)
        stage("reference")
        with computing(problem, "the reference"):
            rows = list(bench.baseline().values())
            wrong = sum(row.failed for row in rows)
        if wrong:
            return _report(loaded, start, baseline=_baseline(rows, wrong))
        stage("training")
        with computing(problem, "the training run"):
            faults = list(mutate_training(bench, start + INJECTING * seconds))
        tried = list(_tried(bench, stage, start + INJECTING * seconds))
        faults += _named(bench, tried, stage, start + seconds)
        return _report(loaded, start, faults=_with_nowhere(faults, loaded.config), notes=_notes(loaded))


def _needs_split(loaded: LoadedConfig) -> None:
    """Refuse a config without a split.

    Raises:
        ConfigErrors: GC026.
    """
    if loaded.config.split is not None or isinstance(loaded.config.model, SegmentsSource):
        return
    message, advice = "mutate injects faults into a split, and the config has none", "add `split: {every: layer}`"
    finding = Finding(message=message, path=("model",), at="key", code="GC026", help=advice)
    raise ConfigErrors([loaded.mistake(finding)])


class _Tried(NamedTuple):
    """An injection and its report; if it was caught, the records of compared tensors, and what else was observed."""

    injection: Injection
    report: FaultReport
    rows: tuple[TensorReport, ...] = ()
    seen: Replay | None = None  # without its tensors, which may be large


def _tried(bench: Bench, stage: Callable[[str], None], end: float) -> Iterator[_Tried]:
    """Inject every fault at every place and yield its report; after the time `end` they are reported as not tried."""
    injections, known = bench.replayed.suspects(own_slices=False), None
    for index, injection in enumerate(injections):
        stage(Stage(f"{injection.code} at {injection.place.text}", index, 2 * len(injections), known))
        if time.monotonic() > end:
            yield _Tried(injection, _fault(injection, status="not-applicable", reason=NOT_TRIED))
            continue
        with computing(bench.problem, f"{injection.code} at {injection.place.text}"):
            one = _injected(bench, injection)
            known = one.report
            yield one


def _injected(bench: Bench, injection: Injection) -> _Tried:
    """Inject one fault and return its report, before any diagnosis."""
    gradients = bench.replayed.gradients(injection)
    rows = bench.compared(gradients)
    failing = [row for row in rows if row.failed]
    if failing:
        caught = _fault(injection, status="caught", margin=max(map(margin, failing)))
        return _Tried(injection, caught, rows, replace(gradients, tensors={}))
    return _Tried(injection, _uncaught(bench, injection, gradients, rows))


def _uncaught(bench: Bench, injection: Injection, gradients: Replay, rows: Sequence[TensorReport]) -> FaultReport:
    """Return the report of a fault that no check caught: `missed` if it moves a tensor by more than rounding."""
    moved = bench.moved(gradients, gradients.beside.right)
    beyond = [key for key, found in moved.items() if found.status in FAILING]
    if not beyond:
        return _fault(injection, status="equivalent", reason=_nothing_moved(moved))
    row_of = by_key(rows)
    real = [key for key in beyond if not _is_rounding(row_of[key])]
    if not real:
        return _fault(injection, status="equivalent", reason=_only_rounding(beyond))
    key = max(real, key=lambda key: moved[key].max_rel_error)
    return _fault(injection, status="missed", reason=_hidden(row_of[key], moved[key]))


#: A gradient whose noise floor is this share of its size is zero but for rounding.
ROUNDING = 1 / NOISE_FACTOR


def _is_rounding(row: TensorReport) -> bool:
    """Whether the reference gradient is rounding alone, such as that of a bias before batch normalization."""
    floor = row.noise_floor or 0.0
    return floor > 0 and floor * row.max_rel_error >= ROUNDING * row.max_abs_error  # their ratio is the tensor's size


def _nothing_moved(moved: Mapping[TensorKey, Comparison]) -> str:
    """Return why a fault is equivalent: it moves no tensor."""
    furthest = max((c.max_rel_error for c in moved.values() if math.isfinite(c.max_rel_error)), default=0.0)
    if furthest:
        return f"on this model it moves no tensor by more than {furthest:.1e} of its size"
    return "on this model it changes nothing: every tensor is bit for bit the correct split's"


def _only_rounding(beyond: Sequence[TensorKey]) -> str:
    """Return why a fault that moves tensors is equivalent: those are rounding alone."""
    return f"on this model it changes only gradients that are zero but for rounding: {some([k.path for k in beyond])}"


def _hidden(row: TensorReport, moved: Comparison) -> str:
    """Return why a fault is missed: its largest change, and the tolerance or noise floor that excused it."""
    by = f"rtol {row.rtol:.2g} and atol {row.atol:.2g}"
    if row.noise_floor is not None:
        by = f"{NOISE_FACTOR} times the noise floor of {row.noise_floor:.1e} (which is lower with --precision float64)"
    return (
        f"the largest change is in {row.path}: {moved.max_abs_error:.1e}, {moved.max_rel_error:.1e} of its size; "
        f"that is within {by}"
    )


def _named(bench: Bench, tried: Sequence[_Tried], stage: Callable[[str], None], end: float) -> Iterator[FaultReport]:
    """Yield the report of every fault; caught ones are diagnosed, until the time `end`."""
    known = tried[-1].report if tried else None
    for index, (injection, report, rows, seen) in enumerate(tried, len(tried)):
        if seen is None:
            yield report
        elif time.monotonic() > end:
            yield replace(report, reason=f"{NOT_NAMED}out of time")
        else:
            stage(Stage(f"naming {report.code} at {report.place}", index, 2 * len(tried), known))
            with computing(bench.problem, f"the diagnosis of {report.code} at {report.place}"):
                gradients = bench.replayed.again(injection, seen)
                observed = Observed(problem=bench.problem, reference=bench.reference, gradients=gradients, rows=rows)
                found = diagnose(observed, seconds=end - time.monotonic(), replayed=bench.replayed)
                known = diagnosed(report, found)
                yield known


def _fault(injection: Injection, **found: Any) -> FaultReport:
    return FaultReport(
        code=injection.code,
        title=CATALOGUE[injection.code].title,
        place=injection.place.text,
        effect=injection.effect,
        **found,
    )


def _with_nowhere(faults: Sequence[FaultReport], config: Config) -> tuple[FaultReport, ...]:
    """Return `faults` with a row for each fault that has no place in the model, in the order of the codes."""
    found = ([f for f in faults if f.code == code] or [_nowhere(code, config)] for code in sorted(NOWHERE))
    return tuple(chain.from_iterable(found))


def _nowhere(code: str, config: Config) -> FaultReport:
    reason = NOWHERE[code]
    if code in excluded(config):
        reason = "no method recomputes"
    ways = {fault.way for fault in TRAINING_FAULTS if fault.code == code}
    unused = ways - {"", *(method.method for method in config.methods)}
    if unused and unused == ways:
        reason = f"`{min(unused)}` is none of the methods"
    elif config.train.steps and ways:
        reason = "nothing in this training run could be changed that way"
    return FaultReport(code=code, title=CATALOGUE[code].title, status="not-applicable", reason=reason)


def _baseline(rows: Sequence[TensorReport], wrong: int) -> str:
    """Say in words how the split without any fault differs from the reference."""
    return (
        f"the split itself does not match the reference: {wrong} of {len(rows)} tensors differ, first "
        f"{first_divergence(rows)}. `gradcheck run` says why; faults are injected into a split that is right"
    )


def _notes(loaded: LoadedConfig) -> tuple[str, ...]:
    """Return how the mutation differs from a run of the same config."""
    execution = loaded.config.execution
    return () if execution == "eager" else (f"execution: {execution}; here reference and faults run eagerly",)


def _report(loaded: LoadedConfig, start: float, **found: Any) -> MutationReport:
    """Return the report of one config with its verdict."""
    report = MutationReport(
        name=loaded.name,
        config=str(loaded.path),
        seed=loaded.config.seed,
        precision=loaded.config.precision,
        verdict="pass",
        seconds=time.monotonic() - start,
        **found,
    )
    verdict, code = _verdict(report)
    return replace(report, verdict=verdict, exit_code=int(code))


def _verdict(report: MutationReport) -> tuple[Verdict, ExitCode]:
    """Return the verdict: a missed fault fails; without any injected fault nothing is proven."""
    score = report.score
    if report.baseline is not None or score.caught < score.injected:
        return "fail", ExitCode.MISMATCH
    return ("pass", ExitCode.OK) if score.injected else ("vacuous", ExitCode.VACUOUS)
