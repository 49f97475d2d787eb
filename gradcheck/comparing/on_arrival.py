"""The comparison of a weight's gradient as soon as a split has completed it: one that agrees need not be kept."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.comparing.tensorwise import compared_tensor, tolerance_of
from gradcheck.handoff.arrivals import Agreeing
from gradcheck.results.report import AGREEING

if TYPE_CHECKING:
    from gradcheck.comparing.reference import Reference
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.problem import Problem, TensorKey


class OnArrival:
    """Compares gradients with those of a reference; one that differs is kept, for a diagnosis needs it.

    Attributes:
        seconds: how long it took, so that no method is charged for it.
    """

    def __init__(self, problem: Problem, reference: Reference, policy: TolerancePolicy) -> None:
        """Compare with `reference`, within the tolerances of `policy`."""
        self._expected, self._tolerance = reference.tensors, partial(tolerance_of, problem, policy)
        self.seconds = 0.0

    def __call__(self, key: TensorKey, gradient: Any) -> Any:
        """Return what is to be kept of the gradient of weight `key`: itself, or that it agrees."""
        start = time.perf_counter()
        found = compared_tensor(self._expected[key], gradient, partial(self._tolerance, key), gradient=True)
        self.seconds += time.perf_counter() - start
        if found.status not in AGREEING:
            return gradient
        return Agreeing(comparison=found, expected=partial(self._expected.__getitem__, key))
