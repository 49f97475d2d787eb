"""What was done to a gradient between the tape and the update: clipping, averaging, decay, a learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.judging.judgement import Array
    from gradcheck.auditing.observing.flow import Share
    from gradcheck.auditing.questions import Question

#: Differences up to this share count as rounding where a mistake is named or a change recognised.
NEAR = 1e-3


@dataclass
class Change:
    """The gradient that was handed over, before recognised changes.

    Attributes:
        candidate: it.
        clipped: the factor by which a norm of gradients scaled it; None if none did.
        by_hand: whether it was computed by hand from other gradients, and is known up to a factor only.
        notes: changes that were not judged; recognised: those that are right.
    """

    candidate: Array | None
    clipped: float | None = None
    by_hand: bool = False
    notes: list[str] = field(default_factory=list)
    recognised: list[str] = field(default_factory=list)


def change_of(
    question: Question, handed: Array | None, results: Sequence[Array | None], value: Any, intended: Sequence[float]
) -> Change:
    """Return what was handed over as it was before recognised changes.

    Args:
        question: the update.
        handed: what was handed over.
        results: the results of gradient calls that it was made of.
        value: the variable's.
        intended: the weight that each result should have had.
    """
    shares = list(question.nodes.values())
    by_hand = any(math.isnan(share.factor) for share in shares) and question.trained.key not in question.sources
    if question.update.free_factor and by_hand:
        return Change(None if handed is None else question.update.sign * handed, by_hand=True)
    if question.update.free_factor:
        return _without_rate(question, results, shares, intended)
    known = [r for r in results if r is not None]
    through = frozenset().union(*(share.through for share in shares))
    if handed is None or not known or len(known) < len(shares) or question.trained.key not in question.sources:
        return Change(handed)
    if not any(math.isnan(share.factor) for share in shares):
        return _without_decay(handed, known, shares, np.asarray(value)) if "added" in through else Change(handed)
    if "Transpose" in through or any(r.shape != handed.shape for r in known):
        return Change(handed)
    return _unclipped(handed, known, intended, through)


def _without_rate(
    question: Question, results: Sequence[Array | None], shares: Sequence[Share], intended: Sequence[float]
) -> Change:
    """Return the gradient that was assigned, without the learning rate, whose size nobody can tell."""
    factors = [share.factor * question.update.sign for share in shares]
    change = Change(None)
    if any(math.isnan(factor) for factor in factors):
        change.notes.append("the assigned change is no multiple of the gradient: the gradient alone was judged")
        factors = list(intended)
    rate = abs(sum(factors)) / (sum(intended) or 1.0) or 1.0
    turned = [r.T if r is not None and "Transpose" in s.through else r for r, s in zip(results, shares, strict=True)]
    if len({None if r is None else r.shape for r in turned}) > 1:
        return change
    parts = [r if f == rate else f / rate * r for f, r in zip(factors, turned, strict=True) if r is not None]
    change.candidate = sum(parts[1:], parts[0]) if parts else None
    return change


def _without_decay(handed: Array, results: Sequence[Array], shares: Sequence[Share], value: Array) -> Change:
    made = _combined([share.factor for share in shares], results, handed)
    rest = handed - made
    decay = float(np.vdot(rest, value) / (np.vdot(value, value) or 1))
    if np.abs(rest).max(initial=0.0) <= 1e-6 * np.abs(handed).max(initial=0.0):  # rounding
        return Change(handed)
    if value.size > 1 and distance(rest, decay * value) <= NEAR * np.abs(rest).max():
        return Change(made, recognised=[f"a weight decay of {decay:.3g} added"])
    return Change(made, notes=["something else was added to the gradient: the gradient alone was judged"])


def _unclipped(handed: Array, results: Sequence[Array], intended: Sequence[float], through: frozenset[str]) -> Change:
    allowed = NEAR * np.abs(handed).max(initial=0.0)
    for factors in (intended, [1.0] * len(intended)):
        whole = _combined(factors, results, handed)
        size = float(np.vdot(whole, whole))
        if "norm" in through and size:
            factor = float(np.vdot(handed, whole)) / size
            if 0 < factor <= 1 + NEAR and distance(handed, factor * whole) <= allowed:
                reached = "" if factor < 1 - 1e-6 else " that it did not reach"
                return Change(whole, factor, recognised=[f"clipped by a norm{reached}"])
        if "bound" in through and distance(handed, np.clip(whole, handed.min(), handed.max())) <= allowed:
            return Change(whole, recognised=["clipped by value"])
    others = ", ".join(sorted(through - {"norm", "bound", "unknown"})) or "operations on it"
    text = f"what was handed over is another function of the gradient ({others}): the gradient alone was judged"
    return Change(_combined(intended, results, handed), notes=[text])


def _combined(factors: Sequence[float], results: Sequence[Array], like: Array) -> Array:
    total: Array = sum((f * r for f, r in zip(factors, results, strict=True)), np.zeros_like(like))
    return total


def distance(a: Any, b: Any) -> float:
    """Return the largest difference of two arrays; infinity if either is None, or their shapes differ."""
    if a is None or b is None or a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max(initial=0.0))
