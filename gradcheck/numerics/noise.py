"""The noise floor: how far the reference itself moves when its inputs are perturbed by rounding alone.

Some gradients are zero but for rounding, and deep nets at random weights amplify rounding by orders of magnitude: no
fixed tolerance fits both. What the reference cannot tell from noise, a candidate need not reproduce.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.elements import BLOCK, absolute_error, blocks, real_parts
from gradcheck.numerics.sparse import SparseRows, align, to_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.numerics.comparison import Comparison, Tensor

#: A difference within this many floors is excused: a few perturbed runs do not find the largest movement.
NOISE_FACTOR = 4


def movement(reference: Tensor | None, moved: Tensor | None, *, block: int = BLOCK) -> float:
    """The largest |moved - reference| that is finite, in float64; 0 where either is None.

    A movement to or from NaN or infinity does not count: as a floor it would excuse everything.

    Args:
        reference: a tensor of the reference; any shape and dtype that `compare` takes.
        moved: the same tensor of a perturbed run; the same shape.
        block: elements at a time.

    Raises:
        ValueError: if the shapes differ: then `moved` is another tensor, and its distance says nothing.
    """
    if reference is None or moved is None:
        return 0.0
    if tuple(reference.shape) != tuple(moved.shape):
        raise ValueError(f"movement compares two runs of one tensor. Received: {reference.shape}, {moved.shape}")
    if isinstance(reference, SparseRows) and isinstance(moved, SparseRows):
        _, before, after = align(reference, moved)
    else:
        before, after = to_array(reference), to_array(moved)
    largest = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for r, c in zip(blocks(real_parts(before), block), blocks(real_parts(after), block), strict=True):
            error = absolute_error(r, c)
            largest = max(largest, float(error.max(initial=0.0, where=np.isfinite(error))))
    return largest


def excuse(comparison: Comparison, floor: float) -> Comparison:
    """`comparison` with its noise floor; a mismatch within `NOISE_FACTOR` floors becomes `close`.

    Only a mismatch of finite values can: where shapes or dtypes differ there is no error to hold against the floor.
    `allclose`, and the figures, stay as they are.
    """
    error = comparison.max_abs_error
    within = comparison.status == "mismatch" and math.isfinite(error) and error <= NOISE_FACTOR * floor
    return replace(comparison, noise_floor=floor, status="close" if within else comparison.status)


def median_relative_floor(floors: Iterable[tuple[float, float]]) -> float:
    """The median of floor / max|reference| over pairs of the two: the size of a fault that noise would hide.

    Tensors whose reference is zero, or not finite, have no relative size and are left out; 0 if none remains.
    """
    relative = [floor / size for floor, size in floors if 0 < size < math.inf]
    return statistics.median(relative) if relative else 0.0
