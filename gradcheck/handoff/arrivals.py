"""Gradients of weights that are compared as soon as they are complete, so that those which agree need not be kept."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.tensor import Comparison


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreeing:
    """What is kept of a gradient that agrees with the reference's: their comparison.

    Attributes:
        comparison: the figures.
        expected: returns the reference's tensor, which it is up to rounding.
    """

    comparison: Comparison
    expected: Callable[[], Any]


class Arrivals:
    """Hands the gradient of each weight over when no backward pass can add to it any more."""

    def __init__(
        self,
        problem: Problem,
        weights: dict[TensorKey, Any],
        on_arrival: Callable[[TensorKey, Any], Any],
        *,
        microbatches: int,
    ) -> None:
        """`weights` is where the gradients are summed up; there each is replaced by what `on_arrival` returns."""
        self._weights, self._on_arrival = weights, on_arrival
        self._left = {weight.key: len(weight.segments) * microbatches for weight in problem.weights}
        self._of_segment: defaultdict[int, list[TensorKey]] = defaultdict(list)
        for weight in problem.weights:
            for index in weight.segments:
                self._of_segment[index].append(weight.key)

    def after(self, segment: Segment) -> None:
        """Note that a backward pass of `segment` has run."""
        for key in self._of_segment[segment.plan.index]:
            self._left[key] -= 1
            if not self._left[key]:
                self._weights[key] = self._on_arrival(key, self._weights[key])


def kept(gradient: Any) -> Any:
    """Return a gradient to which something is added after all, by code that takes a weight of another segment."""
    return gradient.expected() if isinstance(gradient, Agreeing) else gradient
