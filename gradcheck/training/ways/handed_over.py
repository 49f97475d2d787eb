"""What `fit` hands its optimizer in one step, beside the gradients of the plain loop: in words, where no fault fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.numerics import euclidean_norm, movement
from gradcheck.phrases import plural, some

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

#: How far, relatively, a gradient may be from what is said of it.
_NEAR = 1e-3


def in_words(expected: Arrays, handed: Arrays) -> str:
    """Return how the gradients that an optimizer was handed differ from the expected ones, by the weights' paths."""
    missing = [path for path in expected if path not in handed]
    if missing:
        return f"the optimizer was handed no gradient for {some(missing)}"
    differ = [path for path in expected if not _near(expected[path], handed[path])]
    if not differ:
        return "the optimizer was handed the right gradients: what it made of them differs"
    factors = {path: _factor(expected[path], handed[path]) for path in expected if np.any(expected[path])}
    known = [factor for factor in factors.values() if factor is not None]
    if len(known) == len(factors) and known:
        return _scaled(factors, handed, differ)
    limit = max(float(np.abs(handed[path]).max(initial=0.0)) for path in differ)
    if all(_near(np.clip(expected[path], -limit, limit), handed[path]) for path in expected):
        return f"the gradients come clipped by value, to ±{limit:.4g}"
    return f"the gradients that the optimizer was handed for {some(differ)} are others"


def _scaled(factors: Mapping[str, Any], handed: Arrays, differ: Sequence[str]) -> str:
    """Describe gradients that point where they should."""
    lowest, highest = min(factors.values()), max(factors.values())
    if highest - lowest <= _NEAR * abs(highest):
        norm = euclidean_norm([*handed.values()])
        clipped = f", as if clipped to the global norm {norm:.4g}" if 0 < highest < 1 else ""
        return f"every gradient that the optimizer was handed is {highest:.4g} times the plain loop's{clipped}"
    norms = [float(np.linalg.norm(handed[path])) for path in differ]
    if max(norms) - min(norms) <= _NEAR * max(norms) and highest <= 1 + _NEAR:
        count = plural(len(differ), "gradient comes", "gradients come")
        return f"{count} clipped to the norm {norms[0]:.4g} each: {some(differ)}"
    shown = ", ".join(f"{path} {factors[path]:.4g}" for path in differ[:3])
    return f"gradients that the optimizer was handed are multiples of the plain loop's ({shown})"


def _factor(expected: NDArray[Any], handed: NDArray[Any]) -> float | None:
    """Return the number that `handed` is times `expected`; None if it points elsewhere."""
    factor = float(np.vdot(expected, handed) / np.vdot(expected, expected))
    return factor if _near(factor * expected, handed) else None


def _near(one: NDArray[Any], other: NDArray[Any]) -> bool:
    size = max(float(np.abs(one).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
    return bool(one.shape == other.shape and movement(one, other) <= _NEAR * size)
