"""The points at which a call is differentiated: random values, and those where gradients go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck.errors import NotApplicable
from gradcheck.methods.directional.points import GIVEN, POINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.sweeping.call_scalars import Array
    from gradcheck.sweeping.calls import SweptCall


def _one_zero(x: Array) -> Array:
    return np.where(np.arange(x.size).reshape(x.shape) == 0, 0.0, x)


def _two_zeros(x: Array) -> Array:
    return np.where(np.arange(x.size).reshape(x.shape) < 2, 0.0, x)  # noqa: PLR2004 - two


def _tie(x: Array) -> Array:
    """Return the values with the second element equal to the first."""
    return np.where(np.arange(x.size).reshape(x.shape) == 1, x.flat[0], x)


#: Points at which only some elements of a tensor are special, with the least number of elements.
_SOME: dict[str, tuple[Callable[[Array], Array], int]] = {
    "one_zero": (_one_zero, 2),
    "two_zeros": (_two_zeros, 3),
    "tie": (_tie, 3),
}


def points(call: SweptCall, seed: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield the name and the values of every point of `call`, each exact in float32.

    Beside those of `gradcheck layer`: zeros in one tensor alone, one or two zeros, two equal elements, and the points
    of the recipe.
    """
    given = [_single(value) for value in call.given(np.random.default_rng([seed, 0]))]
    free = [i for i, leaf in enumerate(call.leaves) if not leaf.fixed]
    yield GIVEN, given

    def moved(values: list[Array], where: list[int]) -> list[Array]:
        replaced = dict(zip(where, values, strict=True))
        return [_single(replaced.get(i, value)) for i, value in enumerate(given)]

    for name, move in POINTS.items():
        if name == GIVEN or not free:
            continue
        try:
            yield name, moved(list(move([given[i] for i in free], np.random.default_rng(seed))), free)
        except NotApplicable:  # no two tensors have the same shape
            continue
    for i in free if len(free) > 1 else ():
        yield f"zeros of {call.names[i]}", moved([np.zeros_like(given[i])], [i])
    for name, (change, least) in _SOME.items():
        where = [i for i in free if given[i].size >= least]
        if where:
            yield name, moved([change(given[i]) for i in where], where)
    for name, written in call.case.points.items():
        values = [np.broadcast_to(np.asarray(v, np.float64), g.shape) for v, g in zip(written, given, strict=True)]
        yield name, [_single(value) for value in values]


def _single(values: Array) -> Array:
    """Return the nearest numbers that float32 has, so that both dtypes are checked at one point."""
    return values.astype(np.float32).astype(np.float64)
