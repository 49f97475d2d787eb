"""The sizes of what the contractions of Jacobians add up: where summands cancel, rounding is relative to these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.cutting.model_graph import TensorRef
from gradcheck.numerics import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck.handoff.split import Pass
    from gradcheck.methods.by_segment.linear import Linearised
    from gradcheck.problem.problem import Problem, TensorKey, Weight

    Array = NDArray[Any]

#: Contractions are in float64, whatever the precision of the model.
EPS = PRECISIONS["float64"].eps


def origins(problem: Problem, done: Pass, linear: Linearised) -> dict[int, TensorRef | Weight]:
    """Return what each source of `linear` is, by its index: an input of the segment or a weight."""
    inputs = {id(tensor): ref for ref, tensor in zip(done.segment.plan.inputs, done.inputs, strict=True)}
    known: Mapping[int, TensorRef | Weight] = {**problem.counterparts, **inputs}
    return {i: known[id(source)] for i, source in enumerate(linear.sources) if id(source) in known}


class Summands:
    """Adds up |cotangent| · |Jacobian| for every weight, input and boundary, over all segments that use it."""

    def __init__(self, problem: Problem) -> None:
        """Take names from `problem`."""
        self._problem = problem
        self._sums: dict[TensorKey, Array] = {}

    def observer(self, done: Pass, linear: Linearised, cotangent: Array) -> _Adding:
        """Return an observer that adds the blocks of `linear`, whose target has this cotangent."""
        sums = {}
        for i, origin in origins(self._problem, done, linear).items():
            whole = self._sums.setdefault(self._key(origin), np.zeros(linear.examples * linear.columns(i)))
            sums[i] = whole.reshape(linear.examples, -1)  # a view
        return _Adding(np.abs(cotangent), sums)

    def rounding(self, key: TensorKey) -> float:
        """Return how far an eps of every summand moves a sum of this tensor at most; 0 without summands."""
        return EPS * float(np.max(self._sums.get(key, 0.0), initial=0.0))

    def _key(self, origin: TensorRef | Weight) -> TensorKey:
        if not isinstance(origin, TensorRef):
            return origin.key
        return self._problem.input_key(origin.output) if origin.is_input else self._problem.boundary_key(origin)


@dataclass(frozen=True, eq=False)
class _Adding:
    """Adds blocks, weighed by `sizes` of the cotangent, to the sum of each source."""

    sizes: Array
    sums: Mapping[int, Array]

    def rows(self, index: int, chosen: range, block: Array) -> None:
        """Add J[:, chosen, :]."""
        if index in self.sums:
            self.sums[index][...] += np.einsum("nk,knc->nc", self.sizes[:, chosen], np.abs(block))

    def columns(self, index: int, chosen: range, block: Array) -> None:
        """Add J[:, :, chosen]."""
        if index in self.sums:
            self.sums[index][:, chosen] += np.einsum("nr,knr->nk", self.sizes, np.abs(block))
