"""The faults of a training loop, injected into the training run of a config."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.catalogue import CATALOGUE
from gradcheck.diagnose import diagnose_training
from gradcheck.errors import NotApplicable
from gradcheck.faults.training import applicable, committed
from gradcheck.results.mutation import NOT_TRIED, FaultReport
from gradcheck.session.mutation.bench import UNCHANGED
from gradcheck.session.mutation.margin import margin
from gradcheck.session.mutation.named_by import diagnosed
from gradcheck.training.reference_run import ReferenceTraining
from gradcheck.training.side_by_side import train_by
from gradcheck.training.ways.accumulate import sliced_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.config.sections.methods import MethodConfig
    from gradcheck.faults.interface import TrainingFault
    from gradcheck.session.mutation.bench import Bench
    from gradcheck.training.side_by_side import Trained


def mutate_training(bench: Bench, end: float) -> Iterator[FaultReport]:
    """Inject each fault that can change the training run, and yield its report with the diagnosis.

    Yields nothing if the config trains no steps. After `end`, a time of `time.monotonic`, faults are reported as not
    tried.
    """
    config = bench.problem.config
    if not config.train.steps:
        return
    plain = ReferenceTraining(bench.problem, bench.reference)
    for way, training in (("", plain), *_ways(plain, config.methods)):
        for fault in applicable(training, config.train.steps, way):
            if fault.way != way:
                continue
            if time.monotonic() > end:
                yield _report(fault, status="not-applicable", reason=NOT_TRIED)
            else:
                yield _injected(training, fault, bench, end)


def _ways(plain: ReferenceTraining, methods: Sequence[MethodConfig]) -> Iterator[tuple[str, ReferenceTraining]]:
    """Yield each way of training among the methods once, with the run of the plain loop over its slices."""
    for method in {method.method: method for method in methods if method.info.way}.values():
        count = getattr(method.options, "slices", None)
        if count is None:
            yield method.method, plain
        else:
            problem = plain.problem
            with suppress(NotApplicable):
                yield (
                    method.method,
                    plain.over(replace(problem, slices=sliced_batch(problem, count(problem.batch.size)))),
                )


def _injected(training: ReferenceTraining, fault: TrainingFault, bench: Bench, end: float) -> FaultReport:
    """Inject one fault and return its report, with the diagnosis if it is caught."""
    trained = _as_a_loop(train_by(training, partial(committed, fault), bench.policy, noise=bench.noise))
    failing = [row for row in trained.tensors if row.failed]
    if not failing:
        same = all(row.status in UNCHANGED for row in trained.tensors)
        reason = "on this model every step comes out the same" if same else "what it changes is within the tolerance"
        return _report(fault, status="equivalent" if same else "missed", reason=reason)
    seconds = max(end - time.monotonic(), 0.0)
    caught = _report(fault, status="caught", margin=max(map(margin, failing)))
    return diagnosed(caught, diagnose_training(training, trained, seconds=seconds, way=fault.way))


def _as_a_loop(trained: Trained) -> Trained:
    """Return a run with what a training loop shows of it: loss, weights, slots and state, and no gradients."""
    gradients = replace(trained.gradients, tensors={}, outputs=())
    shown = tuple(row for row in trained.tensors if row.quantity == "value" and row.kind != "output")
    return replace(trained, gradients=gradients, tensors=shown)


def _report(fault: TrainingFault, **found: Any) -> FaultReport:
    title, place = CATALOGUE[fault.code].title, fault.place.text if fault.place else "the training loop"
    return FaultReport(code=fault.code, title=title, place=place, effect=fault.effect, **found)
