"""Fingerprints of gradients: two numbers of each, by which most that cannot be equal are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.comparing.keys import as_array
from gradcheck.numerics import to_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The largest change by rounding in float32, as a share of a gradient's norm.
COARSE = 1e-3
#: The largest change of a replay that runs again: threads add up in another order. In longer dtypes it is in eps, for
#: there a cast of one boundary to float32 changes less than that.
REPEATED, AMPLIFIED = 1e-5, 1e5
#: The number of parts of a tensor whose means are kept.
BLOCKS = 64
#: The least norm that errors are measured against, as a share of the largest: a smaller gradient may be rounding.
SMALL = 1e-2


def imprint(tensor: Any) -> tuple[float, float]:
    """Return the norm of a gradient, and the scaled sum of its first half, which shows a changed sign or order.

    Elements that are not finite count as zero. The sum is divided by the root of the number of its terms: so two
    tensors differ in it by no more than the norm of their difference (Cauchy-Schwarz), as they do in their norms.
    """
    array = as_array(tensor)
    if array is None:
        return 0.0, 0.0
    flat = to_vector(array)
    # Not `np.linalg.norm`: the threads of its library wait for TensorFlow's.
    square = np.einsum("i,i", flat, flat)
    if not np.isfinite(square) and not np.isfinite(flat).all():
        flat = np.where(np.isfinite(flat), flat, 0.0)
        square = np.einsum("i,i", flat, flat)
    half = flat[: (flat.size + 1) // 2]
    return float(square**0.5), float(half.sum() / max(half.size, 1) ** 0.5)


def block_means(tensor: Any) -> NDArray[np.float64]:
    """Return the means of equal parts of a tensor, an excerpt that needs little memory."""
    parts = np.array_split(to_vector(tensor), BLOCKS)
    return np.array([part.mean() for part in parts if part.size])


def alike(one: NDArray[np.float64], other: NDArray[np.float64], eps: float) -> NDArray[np.bool_]:
    """Return, for each weight, whether gradients with these fingerprints may be of two runs of one replay.

    Fingerprints are of shape (..., weights, 2), `eps` is that of the dtype that the gradients were computed in.
    """
    return _within(min(REPEATED, AMPLIFIED * eps) * np.maximum(one[..., :1], other[..., :1]), one, other)


def nearly_alike(one: NDArray[np.float64], other: NDArray[np.float64], eps: float) -> NDArray[np.bool_]:
    """Return the same for gradients that were computed in different ways: by a candidate, or traced and eagerly."""
    norms = np.maximum(one[..., :1], other[..., :1])
    # A gradient that is zero but for rounding has no relative error: it is measured against the largest.
    norms = np.maximum(norms, SMALL * norms.max(axis=-2, keepdims=True, initial=0.0))
    return _within(max(COARSE, 4 * eps) * norms, one, other)


def _within(most: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(one - other) <= most).all(axis=-1))
