"""The magnitude of tensors: largest element, zero or not, Euclidean norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.elements import BLOCK, blocks, magnitude, real_parts
from gradcheck.numerics.sparse import SparseRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.numerics.comparison import Tensor
    from gradcheck.numerics.elements import Array


def largest(tensor: Tensor | None) -> float:
    """Return max|tensor| over the finite elements; 0 for None."""
    return 0.0 if tensor is None else magnitude(_stored(tensor)).largest


def largest_finite(values: Iterable[float]) -> float:
    """Return the largest of the finite `values`; NaN if there are none."""
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def is_zero(tensor: Tensor | None) -> bool:
    """Whether every element is zero; true for None, which stands for no gradient. NaN and infinity are not zero."""
    return tensor is None or not _stored(tensor).any()


def euclidean_norm(tensors: list[Tensor | None]) -> float:
    """Return the 2-norm of all `tensors` as one vector, in float64; None counts as zero, NaN and infinity propagate."""
    # Squares of the elements themselves may overflow or underflow.
    scale = max((largest(tensor) for tensor in tensors), default=0.0) or 1.0
    total = 0.0
    with np.errstate(all="ignore"):
        for tensor in tensors:
            for block in blocks(_stored(tensor), BLOCK) if tensor is not None else ():
                scaled = block.astype(np.float64) / scale
                total += float(scaled @ scaled)
    return scale * math.sqrt(total)


def _stored(tensor: Tensor) -> Array:
    """Return the real numbers that `tensor` stores; of a sparse tensor each row once."""
    return real_parts(tensor.coalesce().values if isinstance(tensor, SparseRows) else tensor)
