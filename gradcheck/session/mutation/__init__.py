"""Config -> which faults the check catches and names: each is injected into the correct split, at every place.

Two passes: the first looks at what each fault does, the second at what the diagnosis makes of it, which then knows
the fingerprints of all others. The gradients of one injection are held at a time.
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
from gradcheck.diagnose import Observed, Replayed, diagnose
from gradcheck.errors import ConfigErrors, ExitCode
from gradcheck.faults import FAULTS
from gradcheck.faults.state.recomputation import OfRecomputation
from gradcheck.faults.state.training_loop import TRAINING_FAULTS
from gradcheck.numerics import NOISE_FACTOR, TolerancePolicy
from gradcheck.phrases import some
from gradcheck.problem.prepare import prepare, session
from gradcheck.problem.problem import TensorKey
from gradcheck.results.mutation import NOT_TRIED, FaultReport, MutationReport
from gradcheck.results.report import FAILING
from gradcheck.session.computing import computing
from gradcheck.session.method_check import tolerance_policy
from gradcheck.session.mutation.margin import margin
from gradcheck.session.mutation.named_by import diagnosed
from gradcheck.session.mutation.training import mutate_training

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

#: Seconds that one config may take, where nothing else is asked for.
BUDGET = 600.0
#: The share of them that injecting may take; the rest is for naming what was caught.
INJECTING = 0.5
#: Faults of a second forward pass: they belong where the config asks for one.
RECOMPUTATION = frozenset(fault.code for fault in FAULTS if isinstance(fault, OfRecomputation))
#: Why a fault can sit nowhere, by code; where one of a split and one of a training loop share it, the former's.
NOWHERE = {fault.code: fault.nowhere for fault in TRAINING_FAULTS} | {fault.code: fault.nowhere for fault in FAULTS}


def mutate(loaded: LoadedConfig, seconds: float, stage: Callable[[str], None]) -> MutationReport:
    """Injects every fault into the model of `loaded`, in a session of its own; `stage` is told what is worked on.

    Reference and faults run eagerly whatever the config says, so that like is compared with like.

    Args:
        loaded: the config; its methods are not used.
        seconds: about how long it may take; what is left then is reported as not tried, or not named.
        stage: called with a line of progress.

    Raises:
        GradcheckError: if there is no split (GC026), or the model, the data or the reference cannot be had.
    """
    start = time.monotonic()
    _needs_split(loaded)
    with session(loaded.config), imported_once():
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
    """The faults that belong to what the config does not ask for."""
    return frozenset() if any(method.method == "recompute" for method in config.methods) else RECOMPUTATION


def _needs_split(loaded: LoadedConfig) -> None:
    """Raises ConfigErrors for a config whose model is in one piece."""
    if loaded.config.split is not None or isinstance(loaded.config.model, SegmentsSource):
        return
    message, advice = "mutate injects faults into a split, and the config has none", "add `split: {every: layer}`"
    finding = Finding(message=message, path=("model",), at="key", code="GC026", help=advice)
    raise ConfigErrors([loaded.mistake(finding)])


class Bench:
    """The correct split of a problem beside the reference, and what a fault in it makes of that."""

    def __init__(self, problem: Problem, config: Config) -> None:
        """Computes nothing yet; the tolerances, and what faults there may be, are the config's."""
        self.problem, self.policy = problem, tolerance_policy(config.tolerance)
        self.noise = config.tolerance.noise == "auto"
        self.replayed = Replayed(problem, without=_excluded(config), repeats=True)

    @cached_property
    def reference(self) -> Reference:
        """The whole model's gradients."""
        return Reference(self.problem)

    @cached_property
    def right(self) -> Gradients:
        """The correct split's."""
        return self.replayed.replays.right

    @cached_property
    def baseline(self) -> Mapping[TensorKey, TensorReport]:
        """The correct split, compared with the reference, in report order."""
        return _by_key(self._compare(self.right))

    def compared(self, gradients: Gradients) -> tuple[TensorReport, ...]:
        """`gradients`, compared with the reference. What a fault left as it was is not compared again."""
        changed = _by_key(self._compare(_apart(gradients, self.right)))
        return tuple(changed.get(key, row) for key, row in self.baseline.items())

    def moved(self, gradients: Gradients) -> dict[TensorKey, Comparison]:
        """What a fault touched, compared with the correct split at the default tolerances."""
        compute = compute_dtype(self.problem.precision)

        def tolerance(key: TensorKey, dtype: str) -> Tolerance:
            return TolerancePolicy().for_tensor(key.path, dtype or compute, compute)

        found = named_tensors(self.problem, _apart(gradients, self.right))
        return compared_tensors(self._places, named_tensors(self.problem, self.right), found, tolerance)

    @cached_property
    def _places(self) -> Mapping[TensorKey, TensorPlace]:
        return places(self.problem)

    def _compare(self, gradients: Gradients) -> tuple[TensorReport, ...]:
        return compare_all(self.problem, self.reference, gradients, self.policy, noise=self.noise, known=self._places)


def _by_key(rows: Sequence[TensorReport]) -> dict[TensorKey, TensorReport]:
    return {TensorKey(row.kind, row.path): row for row in rows}


def _apart(gradients: Gradients, right: Gradients) -> Gradients:
    """Those of `gradients` that are not the very tensors of `right`."""

    def others(found: Mapping[Any, Any], known: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: tensor for key, tensor in found.items() if key not in known or tensor is not known[key]}

    return replace(
        gradients, tensors=others(gradients.tensors, right.tensors), state=others(gradients.state, right.state)
    )


class _Tried(NamedTuple):
    """An injection, and what became of it."""

    injection: Injection
    report: FaultReport


def _tried(bench: Bench, stage: Callable[[str], None], end: float) -> Iterator[_Tried]:
    """Every fault at every place, caught or not; not tried once `end` has come."""
    injections = bench.replayed.suspects(own_slices=False)
    for index, injection in enumerate(injections):
        stage(f"{injection.code} at {injection.place.text} ({index + 1} of {len(injections)})")
        if time.monotonic() > end:
            yield _Tried(injection, _fault(injection, status="not-applicable", reason=NOT_TRIED))
            continue
        with computing(bench.problem, f"{injection.code} at {injection.place.text}"):
            yield _Tried(injection, _injected(bench, injection))


def _injected(bench: Bench, injection: Injection) -> FaultReport:
    """What the check says of one fault."""
    gradients = bench.replayed.gradients(injection)
    rows = bench.compared(gradients)
    failing = [row for row in rows if row.failed]
    if failing:
        return _fault(injection, status="caught", margin=max(map(margin, failing)))
    moved = bench.moved(gradients)
    beyond = {key: found for key, found in moved.items() if found.status in FAILING}
    if not beyond:
        return _fault(injection, status="equivalent", reason=_nothing_moved(moved))
    by_key = _by_key(rows)
    real = [key for key in beyond if not _is_rounding(by_key[key])]
    if not real:
        return _fault(injection, status="equivalent", reason=_only_rounding(beyond))
    key = max(real, key=lambda key: beyond[key].max_rel_error)
    return _fault(injection, status="missed", reason=_hidden(by_key[key], beyond[key]))


#: A gradient that rounding may move by this share of its size is zero but for rounding.
ROUNDING = 1 / NOISE_FACTOR


def _is_rounding(row: TensorReport) -> bool:
    """Whether the reference's tensor is nothing but rounding, as that of a bias before batch norm."""
    floor = row.noise_floor or 0.0
    return floor > 0 and floor * row.max_rel_error >= ROUNDING * row.max_abs_error  # their ratio is the tensor's size


def _nothing_moved(moved: Mapping[TensorKey, Comparison]) -> str:
    """Why a fault is equivalent."""
    furthest = max((c.max_rel_error for c in moved.values() if math.isfinite(c.max_rel_error)), default=0.0)
    if furthest:
        return f"on this model it moves no tensor by more than {furthest:.1e} of its size"
    return "on this model it changes nothing: every tensor is bit for bit the correct split's"


def _only_rounding(beyond: Mapping[TensorKey, Comparison]) -> str:
    """Why a fault that moves something is equivalent all the same."""
    return f"on this model it changes only gradients that are zero but for rounding: {some([k.path for k in beyond])}"


def _hidden(row: TensorReport, moved: Comparison) -> str:
    """Why a fault is missed: the largest change, and what excused it."""
    by = f"rtol {row.rtol:.2g} and atol {row.atol:.2g}"
    if row.noise_floor is not None:
        by = f"{NOISE_FACTOR} times the noise floor of {row.noise_floor:.1e} (which is lower with --precision float64)"
    return (
        f"the largest change is in {row.path}: {moved.max_abs_error:.1e}, {moved.max_rel_error:.1e} of its size; "
        f"that is within {by}"
    )


def _named(bench: Bench, tried: Sequence[_Tried], stage: Callable[[str], None], end: float) -> Iterator[FaultReport]:
    """The same faults, those that were caught with what the diagnosis says of them."""
    for index, (injection, report) in enumerate(tried):
        if report.status != "caught":
            yield report
        elif time.monotonic() > end:
            yield replace(report, reason="not named: out of time")
        else:
            stage(f"naming {report.code} at {report.place} ({index + 1} of {len(tried)})")
            with computing(bench.problem, f"the diagnosis of {report.code} at {report.place}"):
                yield _diagnosed(bench, injection, report, seconds=end - time.monotonic())


def _diagnosed(bench: Bench, injection: Injection, report: FaultReport, *, seconds: float) -> FaultReport:
    """The fault with what the diagnosis says of it."""
    gradients = bench.replayed.gradients(injection)
    rows = bench.compared(gradients)
    observed = Observed(problem=bench.problem, reference=bench.reference, gradients=gradients, rows=rows)
    found = diagnose(observed, seconds=seconds, replayed=bench.replayed)
    return diagnosed(report, found)


def _fault(injection: Injection, **found: Any) -> FaultReport:
    return FaultReport(
        code=injection.code,
        title=CATALOGUE[injection.code].title,
        place=injection.place.text,
        effect=injection.effect,
        **found,
    )


def _with_nowhere(faults: Sequence[FaultReport], config: Config) -> tuple[FaultReport, ...]:
    """`faults`, and one row for each that can sit nowhere, in the order of the codes."""
    found = ([f for f in faults if f.code == code] or [_nowhere(code, config)] for code in sorted(NOWHERE))
    return tuple(chain.from_iterable(found))


def _nowhere(code: str, config: Config) -> FaultReport:
    reason = NOWHERE[code]
    if code in _excluded(config):
        reason = "no method recomputes"
    if config.train.steps and any(fault.code == code for fault in TRAINING_FAULTS):
        reason = "nothing in this training run could be changed that way"
    return FaultReport(code=code, title=CATALOGUE[code].title, status="not-applicable", reason=reason)


def _baseline(rows: Sequence[TensorReport], wrong: int) -> str:
    """What is wrong with a split that has no fault in it."""
    return (
        f"the split itself does not match the reference: {wrong} of {len(rows)} tensors differ, first "
        f"{first_divergence(rows)}. `gradcheck run` says why; faults are injected into a split that is right"
    )


def _notes(loaded: LoadedConfig) -> tuple[str, ...]:
    """How this differs from a run."""
    execution = loaded.config.execution
    return () if execution == "eager" else (f"execution: {execution}; here reference and faults run eagerly",)


def _report(loaded: LoadedConfig, start: float, **found: Any) -> MutationReport:
    """The report of one config, its verdict by what was found."""
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
    """A fault that is missed fails; where none could be injected nothing was proven."""
    score = report.score
    if report.baseline is not None or score.caught < score.injected:
        return "fail", ExitCode.MISMATCH
    return ("pass", ExitCode.OK) if score.injected else ("vacuous", ExitCode.VACUOUS)
