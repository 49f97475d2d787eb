"""Diagnosis of a training run that departs from the reference's: a mistake of the loop, or of its gradients."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.building.precision import compute_dtype
from gradcheck.diagnose.effort import REPLAYS, Effort
from gradcheck.diagnose.evidence.movement import movement_of
from gradcheck.diagnose.evidence.observed import EXPLAINED, Observed, same
from gradcheck.diagnose.gradients import diagnose_gradients
from gradcheck.diagnose.own_step import descent_by_hand, diagnose_handed, other_optimizer, uses_another
from gradcheck.diagnose.replaying.fingerprints import block_means
from gradcheck.diagnose.suspects import FORWARD, Suspect, of_gradients, of_loop
from gradcheck.diagnose.tracing.not_finite import not_finite, origin
from gradcheck.diagnose.tracing.parts import parts_apart
from gradcheck.diagnose.wording import named
from gradcheck.faults.training import right
from gradcheck.numerics import NOISE_FACTOR, PRECISIONS, TolerancePolicy, largest, movement
from gradcheck.phrases import some
from gradcheck.problem.optimizer import loss_scale
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck.results.report import Diagnosis, TensorReport
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.side_by_side import Trained
    from gradcheck.training.steps import Trainee, Update


#: How many roundings of a weight two correct implementations of one update may differ by.
ROUNDINGS = 4


def diagnose_training(
    training: ReferenceTraining, trained: Trained, *, seconds: float, effort: Effort | None = None, way: str = ""
) -> tuple[Diagnosis, ...]:
    """Return the mistakes that explain the observed run; GC900 if none does.

    If gradients of the first step were supplied and are wrong, they are diagnosed in place of the run.

    Args:
        training: the reference's run.
        trained: the observed run, compared with it.
        seconds: about how long replays may take.
        effort: collects the steps that fail.
        way: the way of training that was observed; "" for a method or a user's own step.
    """
    effort = effort or Effort()
    if trained.way is not None:
        seen = trained.way.found or effort.attempt("an experiment", trained.way.tried)
        if seen:
            return seen
    if trained.judged is not None:
        return diagnose_handed(training, trained.judged, seconds=seconds, effort=effort)
    own = _by_another_rule(training, trained, seconds, effort)
    if own:
        return own
    wrong = [row for row in trained.tensors if row.step == 1 and not _is_update(row)]
    if any(row.failed for row in wrong) and trained.gradients.tensors:
        gradients = Observed(
            problem=training.problem, reference=training.reference, gradients=trained.gradients, rows=wrong
        )
        return diagnose_gradients(gradients, seconds=seconds, effort=effort)
    broken = _not_finite(training, trained, effort)
    if broken and all(row.status == "nonfinite" for row in trained.tensors if row.failed):
        return broken
    differ = parts_apart(training.problem, training.reference, effort)
    search = _Search(training, trained, effort, end=time.monotonic() + seconds)
    # State that departs in the first step tells of the forward pass: sooner than a hundred runs of other loops.
    forward = any(row.step == 1 and row.kind == "state" and row.failed for row in trained.tensors)
    found = search.first_of(of_gradients(training, trained, effort, way, only=FORWARD)) if forward else ()
    found = found or search.first_of(of_loop(training, trained, way))
    handed_all = trained.handed and all(step.calls for step in trained.handed)
    if not found and handed_all and loss_scale(training.optimizer()) is None:
        # What was handed over shows wrong gradients as they are: sooner than what an optimizer made of them.
        handed = diagnose_handed(training, trained.judge(), seconds=seconds, effort=effort)
        found = handed if any(diagnosis.code != "GC900" for diagnosis in handed) else ()
    found = found or search.first_of(of_gradients(training, trained, effort, way)) or (search.unexplained,)
    # Parts that are not the whole model account for some of the difference: no fault explains the run exactly.
    if differ:
        found = tuple(replace(d, confidence="likely") if d.confidence == "exact" else d for d in found)
    return (*broken, *differ, *found)


def _by_another_rule(
    training: ReferenceTraining, trained: Trained, seconds: float, effort: Effort
) -> tuple[Diagnosis, ...]:
    """Return what is wrong with a step that has another optimizer than the config, or moves the weights by itself."""
    if uses_another(training, trained):
        handed = diagnose_handed(training, trained.judge(), seconds=seconds, effort=effort)
        return (*handed, other_optimizer(training, trained, agree=not handed))
    by_hand = effort.attempt("the rate of descent", partial(descent_by_hand, training, trained))
    if by_hand is None:
        return ()
    rate, found = by_hand

    def update(trainee: Trainee) -> Update:
        return replace(trainee, optimizer=keras.optimizers.SGD(rate)).applying(right)

    suspect = Suspect(name=rate, diagnosis=found, update=update, steps=trained.steps)
    explained = effort.attempt(REPLAYS, partial(_explains, training, trained, suspect))
    return (found if explained else replace(found, confidence="likely"),)


@dataclass
class _Search:
    """The search for the mistakes whose training runs equal the observed one."""

    training: ReferenceTraining
    trained: Trained
    effort: Effort
    end: float
    tried: int = 0
    left: bool = False

    def first_of(self, suspects: Iterable[Suspect]) -> tuple[Diagnosis, ...]:
        """Return those of `suspects` that explain the run, until the time is over; () if there is none."""
        found: dict[str, Diagnosis] = {}
        for suspect in suspects:
            self.left = time.monotonic() > self.end
            if self.left or (found and (suspect.steps < self.trained.steps or suspect.of_segments)):
                break  # all steps are explained: a mistake in the first adds nothing, nor does one among many
            self.tried += 1
            explains = partial(_explains, self.training, self.trained, suspect)
            if suspect.diagnosis.code not in found and self.effort.attempt(REPLAYS, explains):
                later = partial(_as_sure, self.training, self.trained, suspect)
                sure = self.effort.attempt("replays of later steps", later)
                found[suspect.diagnosis.code] = sure or replace(suspect.diagnosis, confidence="likely")
        return tuple(found.values())

    @property
    def unexplained(self) -> Diagnosis:
        """GC900, with what was tried."""
        way = self.trained.way
        said = self.effort.attempt("what the way says", way.said) if way else None
        return _unexplained(self.training, self.trained, self.tried, left=self.left, said=said or "")


def _not_finite(training: ReferenceTraining, trained: Trained, effort: Effort) -> tuple[Diagnosis, ...]:
    """Return GC703 if weights or slots of the reference itself are not finite after the first failing step."""
    index = (trained.first_failing_step or 1) - 1
    expected = training.steps[index]
    rows = [
        row
        for key, row in _rows_by_step(trained)[index].items()
        if row.status == "nonfinite" and not np.isfinite(np.asarray(expected[key])).all()
    ]
    if not rows:
        return ()
    made = effort.attempt("the search for what is not finite", partial(origin, training.problem))
    found = not_finite(training.problem, rows, made, beside=", in the reference too")
    return () if found is None else (found,)


def _as_sure(training: ReferenceTraining, trained: Trained, suspect: Suspect) -> Diagnosis:
    """Return the diagnosis of a mistake that explains the first steps; `likely` if it does not explain the others."""
    if suspect.again is None or _explains(training, trained, suspect.again):
        return suspect.diagnosis
    evidence = f"{suspect.diagnosis.evidence}; later steps do not"
    return replace(suspect.diagnosis, evidence=evidence, confidence="likely")


def _is_update(row: TensorReport) -> bool:
    """Whether the row is a value that the optimizer wrote: a weight, or a variable of its own."""
    return row.kind == "optimizer" or (row.kind == "weight" and row.quantity == "value")


def _explains(training: ReferenceTraining, trained: Trained, suspect: Suspect) -> bool:
    """Whether the suspect's run equals the observed one, step by step."""
    rows = _rows_by_step(trained)
    if not _may_be(training, trained, training.replayed.get(suspect.name, {}), rows[0]):
        return False
    _ = training.noise_floors  # measured now: the replica's Keras session is not the reference's
    with training.cut.entered() as problem, problem.state.preserved():
        trainee = training.trainee(problem, problem.owned_variables)
        for index, step in enumerate(trainee.steps(suspect.update(trainee), suspect.steps)):
            if not index:
                means = {key: block_means(step.tensors[key]) for key in training.start if key in step.tensors}
                training.replayed[suspect.name] = means
            if not _same(training, index, step.tensors, trained.observed[index], rows[index]):
                return False
    return True


def _may_be(
    training: ReferenceTraining,
    trained: Trained,
    known: Mapping[TensorKey, Any],
    rows: Mapping[TensorKey, TensorReport],
) -> bool:
    """Whether the first step of an earlier replay, of which block means are `known`, may equal the observed one."""
    # Means are no further apart than the elements that are furthest apart.
    return all(
        movement(known[key], block_means(trained.observed[0][key]))
        <= _allowed(training.start[key], trained.observed[0][key], steps=1)
        for key, row in rows.items()
        if row.failed and key in known
    )


def _same(
    training: ReferenceTraining,
    index: int,
    there: Mapping[TensorKey, Any],
    here: Mapping[TensorKey, Any],
    rows: Mapping[TensorKey, TensorReport],
) -> bool:
    """Whether weights and slots of the replay (`there`) equal the observed ones (`here`) after one step."""
    expected, compute = training.steps[index], compute_dtype(training.problem.precision)
    if any(key not in there for key in rows):
        return False  # the replay ended early: a gradient did not fit its weight
    for key, row in rows.items():
        if row.status == "inconclusive":
            continue
        tolerance = TolerancePolicy().for_tensor(key.path, row.dtype, compute)
        floor = NOISE_FACTOR * training.noise_floors[index].get(key, 0.0)
        if not same(here[key], there[key], expected[key], tolerance, wrong=row.failed, floor=floor):
            return False
        if row.failed and not _as_far(training.start[key], there[key], here[key], steps=index + 1):
            return False
    return True


def _as_far(start: Any, there: Any, here: Any, *, steps: int) -> bool:
    """Whether two runs moved a tensor equally far.

    Equal values do not prove it: a tensor that hardly moves is close to one that stands still.
    """
    return movement(there, here) <= _allowed(start, here, steps=steps)


def _allowed(start: Any, here: Any, *, steps: int) -> float:
    """Return how far a tensor may be from the one that a mistake gives."""
    if here.dtype.name not in PRECISIONS:
        return math.inf
    rounding = steps * ROUNDINGS * PRECISIONS[here.dtype.name].eps * largest(here)
    return EXPLAINED * movement(start, here) + rounding


def _rows_by_step(trained: Trained) -> Sequence[Mapping[TensorKey, TensorReport]]:
    """Return the rows of weights and slots by key, for each step."""
    rows: list[dict[TensorKey, TensorReport]] = [{} for _ in range(trained.steps)]
    for row in trained.tensors:
        if _is_update(row):
            rows[(row.step or 1) - 1][TensorKey(row.kind, row.path, "value")] = row
    return rows


def _unexplained(training: ReferenceTraining, trained: Trained, tried: int, *, left: bool, said: str) -> Diagnosis:
    """Return GC900: the first step and the tensors in which the runs differ, and what that step did."""
    step = trained.first_failing_step or 1
    wrong = [row.path for row in trained.tensors if row.step == step and row.failed]
    did = movement_of(training, trained, step)
    did = "".join(f". In that step {what}" for what in (did, said) if what)
    more = "; others were left out for lack of time" if left else ""
    evidence = (
        f"the two training runs differ from step {step} on, first in {trained.first_divergence} ({some(wrong)}){did}. "
        f"{tried} replays of known mistakes gave other runs{more}"
    )
    return named("GC900", evidence, confidence="possible")
