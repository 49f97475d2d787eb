"""What one variable was handed, held against the tape over the whole step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.auditing.loss_weights import is_scale
from gradcheck.comparing.keys import as_array
from gradcheck.numerics import SparseRows, TolerancePolicy, compare, excuse, movement, to_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.flow import Node
    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.lines import Line
    from gradcheck.auditing.updates import Question
    from gradcheck.results.report import Diagnosis
    from gradcheck.results.tensor import Comparison

Array = np.ndarray[Any, np.dtype[np.float64]]
_NEAR = 1e-3


@dataclass(eq=False)
class Judgement:
    """One variable in one update.

    Attributes:
        expected, candidate: what is compared; what was handed over before recognised changes.
        references: of each loss; weights: of each loss in `expected`.
        boundaries: the comparisons of the seeds with the cotangents.
        clipped: the factor by which a norm of gradients scaled the gradient; None if none did.
        factor: the multiple of the gradient that was handed over, with what seeds were multiplied by.
        handed: what was handed over, as it was.
        penalties: the gradients of penalties that the losses lack, or have several times, with their weights.
        explained: what explains that it is wrong, with the lines; at: the update's number.
    """

    question: Question
    comparison: Comparison
    expected: Array | None
    candidate: Array | None
    handed: Array | None
    results: list[Array | None]
    references: list[Array | None]
    weights: list[float]
    counts: list[int]
    boundaries: list[tuple[Array, Array | None, Comparison | None]]
    clipped: float | None
    factor: float
    scale: float
    penalties: list[tuple[Array, float]]
    loss: float = math.nan
    notes: list[str] = field(default_factory=list)
    recognised: list[str] = field(default_factory=list)
    explained: list[tuple[Diagnosis, Line]] = field(default_factory=list)
    at: int = 0


def judge(question: Question, evidence: dict[str, Any], options: AuditOptions) -> Judgement:
    """Compare what the variable was handed with what it should have been handed."""
    references = [_dense(r) for r in evidence["references"]]
    results = [_rewritten(r) if question.update.overwrites else _dense(r) for r in evidence["results"]]
    handed = _dense(evidence["handed"])
    scales = [max(scale, 1.0) for scale in question.scales]  # a loss divided by k is a part of a mean, not scaled
    masses = [
        [(float(np.asarray(m)) / scale, int(np.asarray(n))) for m, n in one]
        for one, scale in zip(evidence["masses"], scales, strict=False)
    ]
    notes: list[str] = []
    recognised: list[str] = []
    weights, counts = _weights([len(group) for group in question.groups], masses)
    nodes = list(question.nodes.items())
    factor = _factor(question)

    scale = question.scales[0] if question.scales and len(set(question.scales)) == 1 else 1.0
    undone = 1.0
    if scale != 1 and not question.update.undoes_scale and not question.update.free_factor:
        if abs(factor * scale - 1) < _NEAR:
            recognised.append(f"the loss scale {scale:g} undone")
            undone = 1 / scale
        elif is_scale(scale, max(counts, default=1)) and abs(factor - 1) < _NEAR:
            undone = 1 / scale

    def total(which: Sequence[float]) -> Array | None:
        parts = [w * r for w, r in zip(which, references, strict=True) if r is not None]
        return sum(parts[1:], parts[0]) * undone if parts else None

    own = [i for i, (node, _) in enumerate(nodes) if _source(question, node) == question.trained.key]
    intended = _intended(question, weights)
    candidate, clipped = handed, None
    if question.update.free_factor:
        candidate = _up_to_a_factor(question, results, intended, notes)
    elif nodes and own and handed is not None:
        candidate, clipped = _before_changes(question, handed, results, intended, evidence, notes, recognised)

    mass = sum(one[0][0] for one in masses if one)
    open_weights = (1.0, 1 / max(len(weights), 1))
    if mass > 1 + _NEAR and factor > 0 and factor != 1 and (None in weights or len(weights) == 1):
        # A sum over examples, divided by a number of the script's own choice.
        recognised.append(f"a sum divided by {1 / factor:g}")
        weights, open_weights = [None] * len(weights), (factor,)
    # Neither a mean nor a part of one: the sum of slices, their mean, and the mean over all summands may be meant.
    options_ = [[one if w is None else w for w in weights] for one in dict.fromkeys(open_weights)]
    weights = min(options_, key=lambda option: _distance(total(option), candidate))
    expected = total(weights)
    if expected is None and candidate is not None and not candidate.any():
        candidate = None  # zeros where the loss does not need the variable
    penalties = []
    for one in evidence["penalties"]:
        gradient = _dense(one["gradient"])
        weight = sum(w * float(np.asarray(by)) for w, by in zip(weights, one["weights"], strict=True))
        several = weight > 1 + _NEAR and abs(weight - round(weight)) < _NEAR
        if gradient is not None and expected is not None and (several or weight == 0):
            expected = expected + (gradient if weight == 0 else (1 - weight) * gradient * undone)
            penalties.append((gradient, weight))

    compared = _compared(question, expected, candidate, evidence, options)
    boundaries = []
    for cotangent, seed in evidence["boundaries"]:
        c, s = _dense(cotangent), _dense(seed)
        if c is not None:
            same = s is not None and s.shape == c.shape
            boundaries.append((c, s, _plain(question, c, s, options) if same else None))
    return Judgement(
        question=question,
        comparison=compared,
        expected=expected,
        candidate=candidate,
        handed=handed,
        results=results,
        references=references,
        weights=[float(w) for w in weights],
        counts=counts,
        boundaries=boundaries,
        clipped=clipped,
        factor=factor,
        scale=scale,
        loss=sum(float(np.sum(np.asarray(loss, np.float64))) for loss in evidence["losses"])
        if evidence["losses"]
        else math.nan,
        penalties=penalties,
        notes=notes,
        recognised=recognised,
    )


def _compared(
    question: Question, expected: Array | None, candidate: Array | None, evidence: dict[str, Any], options: AuditOptions
) -> Comparison:
    found = _plain(question, expected, candidate, options)
    moved = [_dense(m) for m in evidence["moved"]]
    if found.status == "mismatch" and moved and all(m is not None for m in moved):
        found = excuse(found, max(movement(moved[0], one) for one in moved[1:]))
    return found


def _plain(question: Question, expected: Array | None, candidate: Array | None, options: AuditOptions) -> Comparison:
    dtype = question.trained.dtype
    tolerance = TolerancePolicy(rtol=options.rtol, atol=options.atol).for_tensor(
        question.trained.path, dtype, question.precision or dtype
    )
    as_own = (None if a is None else a.astype(dtype) for a in (expected, candidate))
    return compare(*as_own, tolerance)


def _dense(tensor: Any) -> Array | None:
    array = as_array(tensor)
    return None if array is None else to_array(array).astype(np.float64)


def _rewritten(tensor: Any) -> Array | None:
    """Return sparse rows as a dense tensor, where of several values for one row the last is kept."""
    rows = as_array(tensor)
    if not isinstance(rows, SparseRows):
        return _dense(tensor)
    dense = np.zeros(rows.shape)
    for index, value in zip(rows.indices, rows.values, strict=True):
        dense[index] = value
    return dense


def _source(question: Question, node: Node) -> int:
    call = next((c for c in question.calls if c.number == node.call), None)
    return -1 if call is None else call.ids[node.source]


def _factor(question: Question) -> float:
    """Return the multiple that the update and the seeds together have made of the gradient; NaN if it is none."""
    factors = {share.factor * question.seed_factors.get(node, 1.0) for node, share in question.nodes.items()}
    return factors.pop() if len(factors) == 1 else 1.0 if not factors else math.nan


def _weights(sizes: Sequence[int], masses: Sequence[Sequence[tuple[float, int]]]) -> tuple[list[Any], list[int]]:
    """Return the weight of each loss in the gradient of the whole batch, None if that is open, and its elements.

    Args:
        sizes: the numbers of losses of one source line: more than one are slices of a batch.
        masses: of each loss, see `loss_weights.masses`; empty if every size is one.
    """
    weights: list[float | None] = []
    counts: list[int] = []
    start = 0
    for size in sizes:
        of_group = list(masses[start : start + size])
        start += size
        if size == 1 or not all(of_group):
            weights += [1.0] * size if size == 1 else [None] * size
            counts += [one[0][1] if one else 1 for one in of_group] or [1] * size
            continue
        branches = range(min(len(one) for one in of_group))
        means = [b for b in branches if all(abs(one[b][0] - 1) < _NEAR for one in of_group)]
        parts = [b for b in branches if abs(sum(one[b][0] for one in of_group) - 1) < _NEAR]
        branch = (means or parts or [0])[0]
        number = [one[branch][1] for one in of_group]
        counts += number
        if means and not parts:
            weights += [n / sum(number) for n in number]
        elif parts and not means:
            weights += [1.0] * size
        else:
            weights += [None] * size
    return weights, counts


def _intended(question: Question, weights: Sequence[float | None]) -> list[float]:
    """Return the weight that each result should have had in the update."""
    by_loss = dict(zip((id(loss) for group in question.groups for loss in group), weights, strict=True))
    found = []
    for node in question.nodes:
        call = next(c for c in question.calls if c.number == node.call)
        of_call = [w for loss in call.losses or () if (w := by_loss.get(id(loss))) is not None]
        found.append(float(np.mean(of_call)) if of_call else 1.0)
    return found


def _up_to_a_factor(
    question: Question, results: list[Array | None], intended: list[float], notes: list[str]
) -> Array | None:
    """Return the gradient that was assigned, without the learning rate, whose size nobody can tell."""
    shares = list(question.nodes.values())
    factors = [share.factor * question.update.sign for share in shares]
    if any(math.isnan(factor) for factor in factors):
        notes.append("the assigned change is no multiple of the gradient: the gradient alone was judged")
        factors = intended
    rate = abs(sum(factors)) / (sum(intended) or 1.0) or 1.0
    turned = [r.T if r is not None and "Transpose" in s.through else r for r, s in zip(results, shares, strict=True)]
    parts = [f / rate * r for f, r in zip(factors, turned, strict=True) if r is not None]
    return sum(parts[1:], parts[0]) if parts else None


def _before_changes(
    question: Question,
    handed: Array,
    results: list[Array | None],
    intended: list[float],
    evidence: dict[str, Any],
    notes: list[str],
    recognised: list[str],
) -> tuple[Array | None, float | None]:
    """Return what was handed over as it was before it was clipped or decayed, and the factor of a clipping by norm."""
    shares = list(question.nodes.values())
    through = set().union(*(share.through for share in shares))
    plain = [share.factor for share in shares]
    known = [r for r in results if r is not None]
    if not any(math.isnan(f) for f in plain):
        if "added" in through and len(known) == len(results):
            made = sum((f * r for f, r in zip(plain, results, strict=True)), np.zeros_like(handed))  # type: ignore[operator]
            rest, value = handed - made, _dense(evidence["value"])
            if value is not None and np.abs(rest).max(initial=0) > 0:
                decay = float(np.vdot(rest, value) / (np.vdot(value, value) or 1))
                if _distance(rest, decay * value) < _NEAR * np.abs(rest).max():
                    recognised.append(f"a weight decay of {decay:.3g} added")
                    return made, None
        return handed, None
    if "Transpose" in through or not known or any(r.shape != handed.shape for r in known):
        return handed, None
    for factors in (intended, [1.0] * len(intended)):
        whole = sum((f * r for f, r in zip(factors, known, strict=False)), np.zeros_like(handed))
        size = float(np.vdot(whole, whole))
        if "norm" in through and size:
            factor = float(np.vdot(handed, whole)) / size
            if 0 < factor <= 1 + _NEAR and _distance(handed, factor * whole) <= _NEAR * np.abs(handed).max():
                recognised.append(
                    "clipped by a norm" if factor < 1 - 1e-6 else "clipped by a norm that it did not reach"
                )
                return whole, factor
        if "bound" in through:
            cut = np.clip(whole, handed.min(), handed.max())
            if _distance(handed, cut) <= _NEAR * np.abs(handed).max():
                recognised.append("clipped by value")
                return whole, None
    others = ", ".join(sorted(through - {"norm", "bound", "unknown"})) or "operations on it"
    notes.append(f"what was handed over is another function of the gradient ({others}): the gradient alone was judged")
    return sum((f * r for f, r in zip(intended, known, strict=False)), np.zeros_like(handed)), None


def _distance(a: Array | None, b: Array | None) -> float:
    if a is None or b is None or a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max(initial=0.0))
