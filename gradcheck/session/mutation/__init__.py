"""Mutation of one config: every fault is injected into the correct split at every place; which are caught and named?

There are two passes over the faults: the first compares each with the reference, the second diagnoses the caught ones,
and by then knows the fingerprints of all others: it computes gradients again only where two of them are alike.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.building.imports import imported_once
from gradcheck.building.precision import compute_dtype
from gradcheck.catalogue import CATALOGUE
from gradcheck.comparing.keys import named_tensors, places
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all, compared_tensors, first_divergence
from gradcheck.config.findings import Finding
from gradcheck.config.keyed import located
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.custom_gradients import watching
from gradcheck.diagnose import Observed, Replayed, diagnose
from gradcheck.errors import ConfigErrors, ExitCode
from gradcheck.faults import FAULTS
from gradcheck.faults.state.recomputation import OfRecomputation
from gradcheck.faults.training import TRAINING_FAULTS
from gradcheck.numerics import NOISE_FACTOR, TolerancePolicy
from gradcheck.phrases import some
from gradcheck.problem.prepare import prepare, session
from gradcheck.problem.problem import TensorKey
from gradcheck.results.mutation import NOT_NAMED, NOT_TRIED, FaultReport, MutationReport
from gradcheck.results.report import FAILING
from gradcheck.session.complex_casts import casts_counted
from gradcheck.session.computing import computing
from gradcheck.session.method_check import tolerance_policy
from gradcheck.session.mutation.margin import margin
from gradcheck.session.mutation.named_by import diagnosed
from gradcheck.session.mutation.training import mutate_training
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.comparing.keys import TensorPlace
    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.interface import Gradients
    from gradcheck.numerics import Tolerance
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport, Verdict
    from gradcheck.results.tensor import Comparison

#: The share of the limit for injecting; the rest is for the diagnosis of caught faults.
INJECTING = 0.75
#: The faults of a recomputation: they apply only if the config asks for `recompute`.
RECOMPUTATION = frozenset(fault.code for fault in FAULTS if isinstance(fault, OfRecomputation))
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
            wrong = [row for row in bench.baseline.values() if row.failed]
        if wrong:
            return _report(loaded, start, baseline=_baseline(list(bench.baseline.values()), len(wrong)))
        stage("training")
        with computing(problem, "the training run"):
            faults = list(mutate_training(bench, start + INJECTING * seconds))
        tried = list(_tried(bench, stage, start + INJECTING * seconds))
        faults += _named(bench, tried, stage, start + seconds)
        return _report(loaded, start, faults=_with_nowhere(faults, loaded.config), notes=_notes(loaded))


def _excluded(config: Config) -> frozenset[str]:
    """Return the codes of faults that do not apply to the config: those of a recomputation, unless it has one."""
    return frozenset() if any(method.method == "recompute" for method in config.methods) else RECOMPUTATION


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


class Bench:
    """The correct split of a problem, compared with the reference, and comparisons for faults in it."""

    def __init__(self, problem: Problem, config: Config) -> None:
        """Compute nothing yet. `config` gives the tolerances and the faults that apply."""
        self.problem, self.policy = problem, tolerance_policy(config.tolerance)
        self.noise = config.tolerance.noise == "auto"
        self.replayed = Replayed(problem, without=_excluded(config), repeats=True, traced_agrees=self._is_right)

    @cached_property
    def reference(self) -> Reference:
        """The gradients of the whole model."""
        return Reference(self.problem)

    @cached_property
    def right(self) -> Gradients:
        """The gradients of the correct split."""
        return self.replayed.replays.right

    @cached_property
    def baseline(self) -> Mapping[TensorKey, TensorReport]:
        """The records of the correct split, compared with the reference, in report order."""
        return _by_key(self._compare(self.right))

    def compared(self, gradients: Gradients) -> tuple[TensorReport, ...]:
        """Compare `gradients` with the reference. Tensors that the fault left alone keep their `baseline` record."""
        changed = _by_key(self._compare(_apart(gradients, self.right)))
        return tuple(changed.get(key, row) for key, row in self.baseline.items())

    def moved(self, gradients: Gradients) -> dict[TensorKey, Comparison]:
        """Compare the tensors that a fault touched with those of the correct split, at the default tolerances."""
        compute = compute_dtype(self.problem.precision)

        def tolerance(key: TensorKey, dtype: str) -> Tolerance:
            return TolerancePolicy().for_tensor(key.path, dtype or compute, compute)

        found = named_tensors(self.problem, _apart(gradients, self.right))
        return compared_tensors(self._places, named_tensors(self.problem, self.right), found, tolerance, brief=True)

    def _is_right(self, gradients: Gradients) -> bool:
        """Whether these are the correct split's up to rounding: a fault that gave them would be `equivalent`."""
        rows = self.compared(gradients)
        return not any(row.failed for row in rows) and not _beyond_rounding(self.moved(gradients), rows)

    @cached_property
    def _places(self) -> Mapping[TensorKey, TensorPlace]:
        return places(self.problem)

    def _compare(self, gradients: Gradients) -> tuple[TensorReport, ...]:
        of, against, policy = self.problem, self.reference, self.policy
        return compare_all(of, against, gradients, policy, noise=self.noise, known=self._places, brief=True)


def _by_key(rows: Sequence[TensorReport]) -> dict[TensorKey, TensorReport]:
    return {TensorKey(row.kind, row.path): row for row in rows}


def _apart(gradients: Gradients, right: Gradients) -> Gradients:
    """Return `gradients` without the tensors that are identical objects in `right`."""

    def others(found: Mapping[Any, Any], known: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: tensor for key, tensor in found.items() if key not in known or tensor is not known[key]}

    return replace(
        gradients, tensors=others(gradients.tensors, right.tensors), state=others(gradients.state, right.state)
    )


class _Tried(NamedTuple):
    """An injection and its report; if it was caught, the records of compared tensors, and what else was observed."""

    injection: Injection
    report: FaultReport
    rows: tuple[TensorReport, ...] = ()
    seen: Gradients | None = None  # without its tensors, which may be large


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


def _uncaught(bench: Bench, injection: Injection, gradients: Gradients, rows: Sequence[TensorReport]) -> FaultReport:
    """Return the report of a fault that no check caught: `missed` if it moves a tensor by more than rounding."""
    moved = bench.moved(gradients)
    beyond = [key for key, found in moved.items() if found.status in FAILING]
    if not beyond:
        return _fault(injection, status="equivalent", reason=_nothing_moved(moved))
    real = _beyond_rounding(moved, rows)
    if not real:
        return _fault(injection, status="equivalent", reason=_only_rounding(beyond))
    key = max(real, key=lambda key: moved[key].max_rel_error)
    return _fault(injection, status="missed", reason=_hidden(_by_key(rows)[key], moved[key]))


def _beyond_rounding(moved: Mapping[TensorKey, Comparison], rows: Sequence[TensorReport]) -> list[TensorKey]:
    """Return the keys of tensors that were moved by more than rounding."""
    by_key = _by_key(rows)
    return [key for key, found in moved.items() if found.status in FAILING and not _is_rounding(by_key[key])]


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
    if code in _excluded(config):
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
