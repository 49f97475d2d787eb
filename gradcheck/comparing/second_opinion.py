"""The second opinion: the whole model runs again in double precision, to show which side of a mismatch is off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from gradcheck.building.messages import gist
from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.comparing.tape import monolithic
from gradcheck.errors import GradcheckError
from gradcheck.handoff.execute import Execution
from gradcheck.numerics import largest, movement, to_array
from gradcheck.problem.twin import float64_twin

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gradcheck.comparing.reference import Reference
    from gradcheck.numerics import Tensor
    from gradcheck.problem.problem import Problem, TensorKey

#: The side that is this much nearer to float64 than the other is right.
NEARER = 0.1


def second_opinion(
    problem: Problem, reference: Reference, found: Mapping[TensorKey, Tensor | None], wrong: Collection[TensorKey]
) -> str | None:
    """Return which side of a mismatch is off, in words, or why that is unknown; None if there is nothing to judge.

    Args:
        problem: the problem of both sides.
        reference: one side.
        found: the tensors of the other side.
        wrong: the gradients in which they differ. Boundaries are ignored: the float64 model is not cut.

    Raises:
        MemoryError: if memory runs out; TensorFlow's `ResourceExhaustedError` passes too.
        GradcheckError: GC057, if the deadline has passed.
    """
    judged = [key for key in wrong if key.kind in ("weight", "input") and found.get(key) is not None]
    if not judged or problem.precision == "float64":
        return None
    if problem.reference_file is not None:
        return "no second opinion in float64: it needs the whole model, whose reference is read from a file"
    if problem.draws:
        return "no second opinion in float64: the model draws random numbers, and draws others in float64"
    try:
        with float64_twin(problem) as twin:
            exact = named_tensors(twin, Execution(twin, monolithic, execution="eager", split=False)())
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # the user's code may fail in a precision that it was not written for
        if isinstance(error, GradcheckError) and error.code == "GC057":  # the deadline
            raise
        return f"no second opinion: the model or its loss cannot be run in float64 ({gist(error)})"
    of = {key: _Sides.of(as_array(reference.tensors[key]), found[key], as_array(exact.get(key))) for key in judged}
    # One sentence shows one tensor: the one in which the candidate is furthest off.
    key = max(judged, key=lambda k: of[k].candidate)
    return of[key].verdict(key.path)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """The distance of each side from the exact gradient, as a share of its size; infinite if it cannot be measured."""

    reference: float
    candidate: float
    words: tuple[str, str]

    @classmethod
    def of(cls, reference: Tensor | None, candidate: Tensor | None, exact: Tensor | None) -> _Sides:
        """Return the distances of both sides from `exact`."""
        one, other = _off(reference, exact), _off(candidate, exact)
        return cls(reference=one[0], candidate=other[0], words=(one[1], other[1]))

    def verdict(self, path: str) -> str:
        """Return which side is off, and by how much at `path`."""
        figures = f"at {path} the reference {self.words[0]}, the candidate {self.words[1]}"
        if math.isfinite(self.reference) and self.reference <= NEARER * self.candidate:
            return f"float64 sides with the reference: {figures}"
        if math.isfinite(self.candidate) and self.candidate <= NEARER * self.reference:
            return f"float64 sides with the candidate: {figures}"
        return f"float64 sides with neither: {figures}"


def _off(found: Tensor | None, exact: Tensor | None) -> tuple[float, str]:
    """Return the distance from the exact gradient, as a share of its largest element, and in words."""
    if found is None or exact is None:
        return math.inf, "has no gradient"
    if tuple(found.shape) != tuple(exact.shape):
        return math.inf, f"has the shape {tuple(found.shape)}"
    ours, right = to_array(found).astype(np.float64), to_array(exact).astype(np.float64)
    if not np.isfinite(ours).all():
        return math.inf, "is not finite"
    if not np.isfinite(right).all():
        return math.inf, "is finite where float64 is not"
    share = movement(right, ours) / (largest(exact) or 1.0)
    return share, f"is off by {share:.1e} of its size"
