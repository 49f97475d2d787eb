"""Patterns in a mismatch that need no replay: a constant factor, or one tensor's gradient in another's place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics import is_zero, largest, to_array, to_vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.numerics import Tensor
    from gradcheck.problem.problem import TensorKey

#: The largest remainder, as a share of the tensor, with which a pattern fits.
FITS = 1e-4
#: A tensor is another's if it is nearer to that than this share of its distance from its own expected value.
NEARER = 0.05


def constant_factor(observed: Observed) -> float | None:
    """Return the factor between every wrong gradient and the reference's; None if there is no common factor."""
    return common_factor((observed.expected[key], observed.arrays[key]) for key in observed.wrong_gradients)


def common_factor(pairs: Iterable[tuple[Tensor | None, Tensor | None]], *, fits: float = FITS) -> float | None:
    """Return the one factor by which each second is a multiple of its first, up to a share `fits`; None if none is."""
    factors = []
    for expected, found in pairs:
        factor = factor_of(expected, found, fits=fits)
        if factor is None:
            return None
        factors.append(factor)
    if not factors or max(factors) - min(factors) > fits * abs(factors[0]):
        return None
    return factors[0]


def groups(observed: Observed) -> dict[str, list[str]]:
    """Return the paths of wrong gradients by their pattern, such as "zero"; "" for those without a pattern."""
    found: dict[str, list[str]] = {}
    for key in observed.wrong_gradients:
        found.setdefault(_beside(observed.expected[key], observed.arrays[key]), []).append(key.path)
    return found


def _beside(expected: Tensor | None, found: Tensor | None) -> str:
    if found is None:
        return "None"
    if expected is None:
        return "a gradient where the reference has none"
    if is_zero(found):
        return "zero"
    if _is(found, expected) and tuple(found.shape) != tuple(expected.shape):
        return f"the reference's in the shape {tuple(found.shape)}"
    factor = factor_of(expected, found)
    if factor is None or abs(factor - 1) <= FITS or np.size(to_array(found)) == 1:  # one element: any factor fits
        return ""
    return f"{factor:.6g} times the reference's"


def factor_of(expected: Tensor | None, found: Tensor | None, *, fits: float = FITS) -> float | None:
    """Return the factor by which `found` is a multiple of `expected`, up to a share `fits`; None for none, or zero."""
    if expected is None or found is None or expected.shape != found.shape or not largest(expected):
        return None
    r, c = to_vector(expected), to_vector(found)
    # Least squares: a ratio of single elements would be as noisy as the smallest of them.
    factor = float(r @ c / (r @ r))
    return factor if factor and float(np.abs(c - factor * r).max()) <= fits * float(np.abs(c).max()) else None


def permutation(observed: Observed) -> dict[TensorKey, TensorKey] | None:
    """Return, for each wrong weight, the weight whose reference gradient it has; None unless there is one for each."""
    weights = [weight.key for weight in observed.problem.weights]
    found: dict[TensorKey, TensorKey] = {}
    for key in observed.wrong_gradients:
        here = observed.arrays[key]
        own = observed.expected[key]
        others = [k for k in weights if k != key and _is(here, observed.expected.get(k))]
        # Gradients of two weights may be alike: the match must also be much nearer than the weight's own gradient.
        source = next((k for k in others if _apart(here, observed.expected[k]) < NEARER * _apart(here, own)), None)
        if key.kind != "weight" or source is None:
            return None
        found[key] = source
    return found or None


def _is(found: Tensor | None, expected: Tensor | None) -> bool:
    """Whether a gradient has another's values in their order; its shape may differ, for user code may reshape it."""
    if found is None or expected is None or np.prod(found.shape) != np.prod(expected.shape) or not largest(expected):
        return False
    return bool(np.abs(to_vector(found) - to_vector(expected)).max() <= FITS * largest(expected))


def transposed(observed: Observed) -> Iterator[TensorKey]:
    """Yield the wrong weights whose gradient is the reference's with its last two axes exchanged."""
    for key in observed.wrong_gradients:
        here, expected = observed.arrays[key], observed.expected[key]
        if here is None or expected is None or len(expected.shape) < 2:  # noqa: PLR2004 - two axes to exchange
            continue
        turned = np.swapaxes(to_array(expected), -1, -2)
        apart = _apart(here, turned)
        if apart <= FITS * largest(expected) and apart < NEARER * _apart(here, expected):
            yield key


def _apart(one: Tensor | None, other: Tensor | None) -> float:
    """Return the largest difference of two tensors in the order of their elements; infinity if sizes differ."""
    if one is None or other is None or np.prod(one.shape) != np.prod(other.shape):
        return math.inf
    return float(np.abs(to_vector(one) - to_vector(other)).max(initial=0.0))
