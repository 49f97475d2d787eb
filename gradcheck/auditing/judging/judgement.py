"""What one variable was handed, held against the tape over the whole step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck.auditing.judging.changes import NEAR, Change, change_of, distance
from gradcheck.auditing.judging.weights import is_scale, slice_weights
from gradcheck.comparing.keys import as_array
from gradcheck.numerics import (
    SparseRows,
    TolerancePolicy,
    compare,
    euclidean_norm,
    excuse,
    movement,
    to_array,
    with_spread,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.questions import Question
    from gradcheck.results.report import Diagnosis
    from gradcheck.results.tensor import Comparison
    from gradcheck.user_calls.lines import ScriptLine

Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(eq=False, kw_only=True)
class Judgement:
    """One variable in one update.

    Attributes:
        expected: what should have been handed over; change: what was.
        references: of each loss; weights: of each in `expected`; counts: the number of its summands.
        boundaries: cotangents, seeds, and their comparisons; a seed is None if there was none.
        others: the cotangents of the other targets in the step.
        factor: the multiple of the gradient that was handed over, with what seeds were multiplied by.
        scale: the constant that the losses were multiplied by last.
        penalties: the gradients of penalties that the losses lack, or have several times, with their weights.
        loss: what `expected` is the gradient of: the losses with their weights; NaN where a value is not known.
        added: the penalties of the variable that were added to it; NaN where others share one.
        explained: what explains that it is wrong, with the lines; at: the number of the update.
        norm: of what was expected; given: the lines of losses that are targets with seeds from outside.
    """

    question: Question
    comparison: Comparison
    expected: Array | None
    change: Change
    references: list[Array | None]
    weights: list[float]
    counts: list[int]
    boundaries: list[tuple[Array, Array | None, Comparison | None]]
    others: list[Array | None]
    factor: float
    scale: float
    penalties: list[tuple[Array, float]]
    loss: float
    added: float
    explained: list[tuple[Diagnosis, ScriptLine]] = field(default_factory=list)
    at: int = 0
    norm: float = 0.0
    given: tuple[ScriptLine, ...] = ()

    def release(self) -> None:
        """Give up the arrays but for the boundaries', which later updates are held against."""
        self.norm = euclidean_norm([self.expected]) if self.expected is not None else 0.0
        self.expected = self.change.candidate = None
        self.references, self.penalties, self.question.evidence = [], [], {}

    @property
    def candidate(self) -> Array | None:
        """What was handed over, before recognised changes."""
        return self.change.candidate


def judge(question: Question, evidence: dict[str, Any], options: AuditOptions) -> Judgement:
    """Compare what the variable was handed with what it should have been handed."""
    references = [_dense(r) for r in evidence["references"]]
    results = [_rewritten(r) if question.update.overwrites else _dense(r) for r in evidence["results"]]
    masses = _masses(question, evidence)
    open_weights, counts = slice_weights([len(group) for group in question.groups], masses)
    change = change_of(
        question,
        _dense(evidence["handed"]),
        results,
        evidence["value"],
        _intended(question, open_weights),
    )
    factor = _factor(question)
    scale, undone = _scale(question, counts, factor, change)
    scaled = references if undone == 1 else [None if r is None else r * undone for r in references]
    weights = _settled(scaled, open_weights, masses, factor, change)
    expected = _total(scaled, weights)
    if expected is None and change.candidate is not None and not change.candidate.any():
        change.candidate = None  # zeros where the loss does not need the variable
    if change.by_hand:
        _scale_to(change, expected)
    expected, penalties, added = _with_penalties(expected, evidence["penalties"], weights, undone)
    return Judgement(
        question=question,
        comparison=_compared(question, expected, change.candidate, evidence["moved"], options),
        expected=expected,
        change=change,
        references=references,
        weights=weights,
        counts=counts,
        boundaries=_boundaries(question, evidence["boundaries"], options),
        others=[_dense(other) for other in evidence["others"]],
        factor=factor,
        scale=scale,
        penalties=penalties,
        given=tuple(loss.line for group in question.groups for loss in group if loss.is_given),
        loss=_combined(evidence["losses"], weights) * undone,
        added=added,
    )


def _combined(losses: Sequence[Any], weights: Sequence[float]) -> float:
    """Return the weighted sum of losses; NaN if there is none, or one is not known."""
    if not losses or any(loss is None for loss in losses):
        return math.nan
    sums = [float(np.sum(np.asarray(as_array(loss), np.float64))) for loss in losses]
    return sum(weight * value for weight, value in zip(weights, sums, strict=True))


def _scale_to(change: Change, expected: Array | None) -> None:
    """Multiply what was handed over by a positive factor, such as to come near to what is expected."""
    candidate = change.candidate
    if expected is None or candidate is None or candidate.shape != expected.shape:
        return
    size = euclidean_norm([candidate])
    change.candidate = candidate * (euclidean_norm([expected]) / size) if size else candidate


def _masses(question: Question, evidence: dict[str, Any]) -> list[list[tuple[float, int]]]:
    scales = [max(scale, 1.0) for scale in question.scales]  # a loss divided by k is a part of a mean, not scaled
    return [
        [(float(np.asarray(mass)) / scale, int(np.asarray(count))) for mass, count in one]
        for one, scale in zip(evidence["masses"], scales, strict=False)
    ]


def _scale(question: Question, counts: Sequence[int], factor: float, change: Change) -> tuple[float, float]:
    """Return by what the losses were multiplied, and by what the gradient has to be for that to be undone."""
    update = question.update
    scale = question.scales[0] if question.scales and len(set(question.scales)) == 1 else 1.0
    if scale == 1 or update.undoes_scale or update.free_factor:
        return scale, 1.0
    if abs(factor * scale - 1) < NEAR:
        change.recognised.append(f"the loss scale {scale:g} undone")
        return scale, 1 / scale
    forgotten = is_scale(scale, max(counts, default=1)) and abs(factor - 1) < NEAR
    return scale, 1 / scale if forgotten else 1.0


def _settled(
    references: Sequence[Array | None],
    weights: Sequence[float | None],
    masses: Sequence[Sequence[tuple[float, int]]],
    factor: float,
    change: Change,
) -> list[float]:
    """Return the weights of the losses, where they are open those that come nearest to what was handed over.

    Slices that are neither means nor parts of one may be summed or averaged, and a sum over examples may be divided by
    a number of the script's own choice.
    """
    choices = [1.0, 1 / max(len(weights), 1)]
    mass = sum(one[0][0] for one in masses if one)
    if mass > 1 + NEAR and factor > 0 and factor != 1 and (None in weights or len(weights) == 1):
        change.recognised.append(f"a sum divided by {1 / factor:g}")
        weights, choices = [None] * len(weights), [factor]
    if None not in weights:
        return [w for w in weights if w is not None]
    settled = [[choice if w is None else w for w in weights] for choice in choices]
    return min(settled, key=lambda option: distance(_total(references, option), change.candidate))


def _total(references: Sequence[Array | None], weights: Sequence[float]) -> Array | None:
    parts = [r if w == 1 else w * r for w, r in zip(weights, references, strict=True) if r is not None]
    return sum(parts[1:], parts[0]) if parts else None


def _with_penalties(
    expected: Array | None, penalties: Sequence[dict[str, Any]], weights: Sequence[float], undone: float
) -> tuple[Array | None, list[tuple[Array, float]], float]:
    """Add penalties that no loss has, and leave those in once that it has several times; return their values too."""
    found = []
    value = 0.0
    for penalty in penalties:
        gradient = _dense(penalty["gradient"])
        weight = sum(w * float(np.asarray(by)) for w, by in zip(weights, penalty["weights"], strict=True))
        several = weight > 1 + NEAR and abs(weight - round(weight)) < NEAR
        if gradient is not None and expected is not None and (several or weight == 0):
            times = 1.0 if weight == 0 else (1 - weight) * undone
            expected = expected + times * gradient
            value += times * _combined([penalty["value"]], [1.0])
            found.append((gradient, weight))
    return expected, found, value


def _compared(
    question: Question,
    expected: Array | None,
    candidate: Array | None,
    moved: Sequence[Any],
    options: AuditOptions,
) -> Comparison:
    found = _plain(question, expected, candidate, options)
    floors = [_dense(one) for one in moved]
    if found.status == "mismatch" and floors and all(one is not None for one in floors):
        found = excuse(found, max(movement(floors[0], one) for one in floors[1:]))
    return with_spread(found, _as_stored(question, expected), _as_stored(question, candidate))


def _boundaries(
    question: Question, pairs: Sequence[tuple[Any, Any]], options: AuditOptions
) -> list[tuple[Array, Array | None, Comparison | None]]:
    found = []
    for cotangent, seed in pairs:
        c, s = _dense(cotangent), _dense(seed)
        if c is not None:
            found.append((c, s, None if s is None or s.shape != c.shape else _plain(question, c, s, options)))
    return found


def _plain(question: Question, expected: Array | None, candidate: Array | None, options: AuditOptions) -> Comparison:
    dtype = question.trained.dtype
    policy = TolerancePolicy(rtol=options.rtol, atol=options.atol)
    tolerance = policy.for_tensor(question.trained.path, dtype, question.precision or dtype)
    return compare(_as_stored(question, expected), _as_stored(question, candidate), tolerance)


def _as_stored(question: Question, array: Array | None) -> Array | None:
    """Return `array` in the dtype of the variable."""
    return None if array is None else array.astype(question.trained.dtype, copy=False)


def _dense(tensor: Any) -> Array | None:
    array = as_array(tensor)
    return None if array is None else to_array(array)


def _rewritten(tensor: Any) -> Array | None:
    """Return sparse rows as a dense tensor, where of several values for one row the last is kept."""
    rows = as_array(tensor)
    if not isinstance(rows, SparseRows):
        return _dense(tensor)
    dense = np.zeros(rows.shape)
    for index, value in zip(rows.indices, rows.values, strict=True):
        dense[index] = value
    return dense


def _factor(question: Question) -> float:
    """Return the multiple that the update and the seeds together have made of the gradient; NaN if it is none."""
    factors = {share.factor * question.seed_factors[node] for node, share in question.nodes.items()}
    return factors.pop() if len(factors) == 1 else 1.0 if not factors else math.nan


def _intended(question: Question, weights: Sequence[float | None]) -> list[float]:
    """Return the weight that each result should have had in the update."""
    by_loss = dict(zip((id(loss) for group in question.groups for loss in group), weights, strict=True))
    found = []
    for node in question.nodes:
        call = next(call for call in question.calls if call.number == node.call)
        of_call = [w for loss in call.losses or () if (w := by_loss.get(id(loss))) is not None]
        found.append(float(np.mean(of_call)) if of_call else 1.0)
    return found
