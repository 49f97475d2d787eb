"""Gradients of weights that are compared as soon as they are complete, so that those which agree need not be kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

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
    """Hands the gradient of each weight to `problem.on_arrival` when no backward pass can add to it any more."""

    def __init__(self, problem: Problem, weights: dict[TensorKey, Any], *, microbatches: int) -> None:
        """`weights` is where the gradients are summed up; what is handed over is replaced there."""
        self._problem, self._weights = problem, weights
        self._left = Counter({weight.key: len(weight.segments) * microbatches for weight in problem.weights})

    def after(self, segment: Segment) -> None:
        """Note that a backward pass of `segment` has run. While a function is traced, gradients have no values."""
        arrived = self._problem.on_arrival
        if arrived is None or not tf.executing_eagerly():
            return
        for weight in self._problem.weights:
            if segment.plan.index in weight.segments:
                self._left[weight.key] -= 1
                if not self._left[weight.key]:
                    self._weights[weight.key] = arrived(weight.key, self._weights[weight.key])


def kept(gradient: Any) -> Any:
    """Return a gradient to which something is added after all, by code that takes a weight of another segment."""
    return gradient.expected() if isinstance(gradient, Agreeing) else gradient
