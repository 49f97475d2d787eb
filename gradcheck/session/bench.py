"""What each method costs beside the reference: time and peak memory, in one process, warm."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tape import monolithic
from gradcheck.config.keyed import located
from gradcheck.config.sections.methods import METHODS as KNOWN
from gradcheck.config.sections.methods import MethodConfig
from gradcheck.errors import GradcheckError
from gradcheck.handoff import execute
from gradcheck.handoff.execute import Execution
from gradcheck.keras_private import replaced
from gradcheck.methods import METHODS
from gradcheck.problem.peak_memory import peak_of
from gradcheck.problem.prepare import prepare, session
from gradcheck.results.bench import BenchedConfig, MethodCost
from gradcheck.results.origin import environment
from gradcheck.session.computing import computing
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.ways import WAYS
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.config.load import LoadedConfig
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.problem.problem import Problem
    from gradcheck.results.origin import Environment

#: No further round of a method begins after this many seconds.
LONGEST = 8.0
#: How often memory is measured; the least counts: the allocator may grow once more.
PEAKS = 2
#: Bytes below which resident memory is not told from noise.
NOISE = 2**20
_TAPE, _PLAIN = "tape", "plain loop"


def bench(
    loaded: LoadedConfig,
    rounds: int,
    alone: bool,  # noqa: FBT001 - a task has no keywords
    stage: Callable[[str], None],
) -> BenchedConfig:
    """Measure the methods of one config, and all others that can be applied to it.

    Args:
        loaded: the config.
        rounds: how often each method is timed, in turn with what it is beside.
        alone: whether only the methods of the config are measured.
        stage: called with the name of each stage as it begins.

    Raises:
        GradcheckError: if the model or the batch cannot be built, or the reference cannot be computed.
    """
    with session(loaded.config):
        stage("building")
        with located(loaded):
            problem = prepare(loaded.config, loaded.base)
        bases = _Bases(problem)
        written = list(chain.from_iterable(method.at_points for method in loaded.config.methods))
        named = {method.method for method in written}
        others = [name for name in KNOWN if name not in named and name != "candidate" and not alone]
        methods = [*written, *(MethodConfig(method=name, options=KNOWN[name].options()) for name in others)]
        costs = []
        for done, method in enumerate(methods):
            stage(Stage(method.label, done, len(methods)))
            costs.append(_cost(bases, method, rounds, required=method.method in named))
        references = bases.costs
    failed = any(cost.status == "error" for cost in costs)
    return BenchedConfig(
        name=loaded.name,
        config=str(loaded.path),
        precision=problem.precision,
        execution=problem.execution,
        verdict="error" if failed else "pass",
        exit_code=3 if failed else 0,
        batch_size=problem.batch.size,
        parameters=sum(math.prod(weight.variable.shape) for weight in problem.weights),
        references=references,
        methods=tuple(costs),
    )


def bench_with_environment(
    loaded: LoadedConfig,
    rounds: int,
    alone: bool,  # noqa: FBT001 - as above
    stage: Callable[[str], None],
) -> tuple[BenchedConfig, Environment]:
    """Measure one config, and also return the environment, as `check_with_environment` does."""
    return bench(loaded, rounds, alone, stage), environment()


@dataclass(eq=False)
class _Work:
    """Something that is called again and again, and what was measured of it.

    What it compiles in its first call is used in the others: a method makes its compiled functions whenever it is
    called, which a program that trains does once.
    """

    label: str
    call: Callable[[], Any]

    def __post_init__(self) -> None:
        self.times: list[float] = []
        self.first = math.nan
        self._compiled: list[Callable[[Tensors], Computed]] = []

    def __call__(self) -> None:
        made = iter(self._compiled)

        def kept(function: Callable[[Tensors], Computed], execution: str) -> Callable[[Tensors], Computed]:
            if execution == "eager":
                return function
            known = next(made, None)
            if known is None:
                known = compiled(function, execution)
                self._compiled.append(known)
            return known

        compiled = execute.compiled
        with replaced(execute, compiled=kept):
            self.call()

    def timed(self) -> float:
        """Call it and return the seconds."""
        start = time.perf_counter()
        self()
        return time.perf_counter() - start

    def warmed(self) -> None:
        """Call it for the first time, unless that was done."""
        if math.isnan(self.first):
            self.first = self.timed()

    def peak(self) -> int | None:
        """Return the rise of memory during a call."""
        found = [peak_of(self) for _ in range(PEAKS)]
        return min((peak for peak in found if peak is not None), default=None)


class _Bases:
    """What methods are beside: the reference, and for ways of training the plain loop; each made when it is needed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._made: dict[str, tuple[_Work, int | None]] = {}

    def of(self, method: MethodConfig) -> tuple[_Work, int | None]:
        """Return the warm work that a method is beside, and the bytes that it takes."""
        name = _PLAIN if method.info.way else _TAPE
        if name not in self._made:
            work = _Work(name, self._plain_loop() if method.info.way else self._tape)
            with computing(self.problem, f"the {name}"):
                work.warmed()
                self._made[name] = work, work.peak()
        return self._made[name]

    def _tape(self) -> None:
        Execution(self.problem, monolithic, split=False)()

    def _plain_loop(self) -> Callable[[], Any]:
        self.reference = Reference(self.problem)
        return partial(ReferenceTraining, self.problem, self.reference)

    @property
    def costs(self) -> tuple[MethodCost, ...]:
        """What they cost themselves."""
        return tuple(replace(_times(work), peak_bytes=peak) for work, peak in self._made.values() if work.times)


def _cost(bases: _Bases, method: MethodConfig, rounds: int, *, required: bool) -> MethodCost:
    """Measure one method; what it raises is the reason why there is no measurement."""
    reason = _unfit(bases.problem, method)
    if reason:
        return MethodCost(method=method.label, status="not-applicable", reason=reason)
    try:
        base, base_peak = bases.of(method)
        with computing(bases.problem, method.label):
            work = _Work(method.label, _call(bases, method))
            work.warmed()
            ratios = list(_rounds(work, base, rounds))
            peak = None if method.info.elsewhere or method.info.engine else work.peak()
    except GradcheckError as error:
        return MethodCost(method=method.label, status="error" if required else "not-applicable", reason=str(error))
    return replace(
        _times(work),
        against=base.label,
        time_ratio=statistics.median(ratios),
        time_ratio_range=(min(ratios), max(ratios)),
        peak_bytes=peak,
        memory_ratio=_ratio(peak, base_peak),
    )


def _ratio(peak: int | None, base: int | None) -> float | None:
    return None if peak is None or base is None or min(peak, base) < NOISE else peak / base


def _unfit(problem: Problem, method: MethodConfig) -> str:
    """Return why a method cannot be applied to this problem, as far as its entry in the table says; else ""."""
    if method.info.splits and not problem.segments:
        return "it needs a split"
    if problem.slices and not method.info.slices:
        return "it does not run in micro-batches"
    if method.info.way and not problem.config.train.steps:
        return "it is a way of training, and there are no training steps: --set train.steps=3"
    if problem.loss.of_model is not None and not method.info.of_model:
        return "the loss calls the model itself"
    return ""


def _call(bases: _Bases, method: MethodConfig) -> Callable[[], Any]:
    if method.info.engine:
        return partial(_asked, bases.problem, method)
    if not method.info.way:
        return partial(METHODS[method.method], bases.problem, method.options)
    training = ReferenceTraining(bases.problem, bases.reference)
    return partial(WAYS[method.method], training, method.options)


def _asked(problem: Problem, method: MethodConfig) -> Gradients:
    """Ask an engine, whose answer a problem keeps for its diagnosis, again."""
    problem.made.pop(method.method, None)
    return METHODS[method.method](problem, method.options)


def _rounds(work: _Work, base: _Work, rounds: int) -> Iterator[float]:
    """Time both in turn, so that a busy moment hits both, and yield the ratios; stop early if it takes long."""
    start = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - start > LONGEST:
            return
        for one in (base, work):
            one.times.append(one.timed())
        yield work.times[-1] / base.times[-1]


def _times(work: _Work) -> MethodCost:
    return MethodCost(
        method=work.label,
        rounds=len(work.times),
        first_seconds=work.first,
        seconds=statistics.median(work.times),
        seconds_range=(min(work.times), max(work.times)),
    )
