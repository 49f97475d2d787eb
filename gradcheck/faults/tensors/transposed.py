"""GC406: the gradient of a square matrix is the transpose of the right one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.places import at_weight, used_weights
from gradcheck.handoff.tensors import dense

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.faults.interface import Found
    from gradcheck.problem.problem import Problem, TensorKey


class Transposed:
    """`dy^T x` in place of `x^T dy`."""

    code = "GC406"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each weight whose last two axes have the same length, and all of these."""
        square = [weight for weight in used_weights(problem) if _is_square(tuple(weight.variable.shape))]
        for weight in square:
            effect = f"the gradient of {weight.path} was transposed"
            yield self._transposed(at_weight(weight), effect, frozenset({weight.key}))
        if len(square) > 1:
            place = Place(text="every square weight", everywhere=True)
            effect = "the gradient of every square weight was transposed"
            yield self._transposed(place, effect, frozenset(weight.key for weight in square))

    def _transposed(self, place: Place, effect: str, keys: frozenset[TensorKey]) -> Injection:
        return Injection(code=self.code, place=place, effect=effect, finish=partial(_turned, keys))


def _is_square(shape: tuple[int, ...]) -> bool:
    """Whether the last two axes have the same length, above one."""
    return len(shape) > 1 and shape[-1] == shape[-2] > 1


def _turned(keys: Collection[TensorKey], found: Found) -> Found:
    return {key: _transpose(found[key]) for key in keys}


def _transpose(gradient: Any) -> Any:
    return None if gradient is None else tf.linalg.matrix_transpose(dense(gradient))
