"""How large one tensor is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.elements import BLOCK, blocks, magnitude, real_parts
from gradcheck.numerics.sparse import SparseRows

if TYPE_CHECKING:
    from gradcheck.numerics.comparison import Tensor
    from gradcheck.numerics.elements import Array


def largest(tensor: Tensor | None) -> float:
    """max|tensor| over the finite elements; 0 for None."""
    return 0.0 if tensor is None else magnitude(_stored(tensor)).largest


def is_zero(tensor: Tensor | None) -> bool:
    """Whether every element is zero; so is None, which stands for no gradient. NaN and infinity are not."""
    return tensor is None or not _stored(tensor).any()


def euclidean_norm(tensors: list[Tensor | None]) -> float:
    """The 2-norm of all `tensors` as one vector, in float64; None counts as zero, NaN and infinity carry through."""
    scale = max((largest(tensor) for tensor in tensors), default=0.0) or 1.0
    total = 0.0
    with np.errstate(all="ignore"):
        for tensor in tensors:
            for block in blocks(_stored(tensor), BLOCK) if tensor is not None else ():
                scaled = block.astype(np.float64) / scale
                total += float(scaled @ scaled)
    return scale * math.sqrt(total)


def _stored(tensor: Tensor) -> Array:
    """The real numbers that `tensor` holds; each row of a sparse one once."""
    return real_parts(tensor.coalesce().values if isinstance(tensor, SparseRows) else tensor)
