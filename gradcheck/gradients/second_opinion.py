"""Which side of a mismatch float64 takes: the whole model once more, in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck.errors import GradcheckError
from gradcheck.gradients.execute import Execution
from gradcheck.gradients.named import as_array, named_tensors
from gradcheck.gradients.tape import monolithic
from gradcheck.models.messages import gist
from gradcheck.models.twin import float64_twin
from gradcheck.numerics import largest, movement, to_array

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gradcheck.gradients.reference import Reference
    from gradcheck.models.problem import Problem, TensorKey
    from gradcheck.numerics import Tensor

#: The side that is this much nearer to float64 than the other is right.
NEARER = 0.1


def second_opinion(
    problem: Problem, reference: Reference, found: Mapping[TensorKey, Tensor | None], wrong: Collection[TensorKey]
) -> str | None:
    """Which side is off, in words; why that cannot be said; None where there is nothing to say.

    Args:
        problem: that the two sides disagree about.
        reference: the one side.
        found: the other side's tensors.
        wrong: the gradients in which they differ. Boundaries are left out: the twin is not cut.
    """
    judged = [key for key in wrong if key.kind in ("weight", "input") and found.get(key) is not None]
    if not judged or problem.precision == "float64":
        return None
    if any("seed" in state.path for state in problem.state.variables) and problem.training:
        return "no second opinion in float64: the model draws random numbers, and draws others in float64"
    try:
        with float64_twin(problem) as twin:
            exact = named_tensors(twin, Execution(twin, monolithic, execution="eager", split=False)())
    except (GradcheckError, TypeError, ValueError, RuntimeError) as error:
        return f"no second opinion: the model cannot be run in float64 ({gist(error)})"
    key = max(judged, key=lambda k: _off(found[k], as_array(exact.get(k))))
    ours, theirs = (_off(side, as_array(exact.get(key))) for side in (as_array(reference.tensors[key]), found[key]))
    return _verdict(key.path, ours, theirs)


def _verdict(path: str, reference: float, candidate: float) -> str:
    figures = f"at {path} the reference is off by {reference:.1e} of its size, the candidate by {candidate:.1e}"
    if reference <= NEARER * candidate:
        return f"float64 sides with the reference: {figures}"
    if candidate <= NEARER * reference:
        return f"float64 sides with the candidate: {figures}"
    return f"float64 sides with neither: {figures}"


def _off(found: Tensor | None, exact: Tensor | None) -> float:
    """The distance to the exact gradient, as a share of its largest element; infinite for another shape."""
    if found is None or exact is None or tuple(found.shape) != tuple(exact.shape):
        return float("inf")
    distance = movement(to_array(exact).astype(np.float64), to_array(found).astype(np.float64))
    return distance / (largest(exact) or 1.0)
